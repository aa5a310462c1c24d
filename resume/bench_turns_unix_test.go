//go:build unix

package resume_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/resume"
)

// What a message costs a server within the process: 64 connections in memory take turns on one processor, and each
// brings 64 messages of 64 bytes, which are echoed. ns/message is the median of the time from a read's return to the
// next read, so the kernel and the clients have no part in it, and who else uses the machine has little:
//
//	go test ./resume -run '^$' -bench WithinTheProcess -cpu 1 -benchtime 6000x -count 8
func BenchmarkWithinTheProcess(b *testing.B) {
	b.Run("plain", func(b *testing.B) {
		takeTurns(b, testkit.Frames, false, libnet.HandlerFunc(func(s *libnet.Session) {
			for msg := range s.Messages() {
				_ = s.SendBytes(msg)
			}
		}))
	})
	b.Run("resume", func(b *testing.B) {
		h := &resume.Server{MessageHandler: func(s *resume.Session, msg []byte) { _ = s.SendBytes(msg) }}
		defer h.Close()
		takeTurns(b, protocol, true, h)
	})
}

func takeTurns(b *testing.B, p libnet.Protocol, resumes bool, h libnet.Handler) {
	const clients, window, size = 64, 64, 64
	turns := &turns{left: b.N, over: make(chan struct{})}
	all := make([]*turnConn, clients)
	for i := range all {
		all[i] = &turnConn{burster: newBurster(nil, window, size, resumes), turns: turns,
			turn: make(chan struct{}, 1), closed: make(chan struct{})}
		if resumes {
			all[i].rest = helloFrame()
		}
	}
	conns := make(chan net.Conn, clients)
	for i, c := range all {
		c.next = all[(i+1)%clients]
		conns <- c
	}
	srv := libnet.NewServer(&turnListener{conns: conns, closed: make(chan struct{})}, p, 128)
	srv.Logger = testkit.Quiet
	go func() { _ = srv.Serve(h) }()
	defer srv.Stop()
	b.ResetTimer()
	all[0].turn <- struct{}{}
	<-turns.over
	slices.Sort(turns.took)
	b.ReportMetric(float64(turns.took[len(turns.took)/2])/window, "ns/message")
}

// turns are what all have had so far. They belong to whose turn it is.
type turns struct {
	left int
	took []time.Duration
	over chan struct{}
}

// A turnConn is a connection whose peer waits for its turn, sends a burst, and acknowledges what was written to it by
// then. It passes its turn on when it is read again.
type turnConn struct {
	*burster
	turns   *turns
	next    *turnConn
	turn    chan struct{}
	began   time.Time // of its last turn
	rest    []byte    // of what it sends
	replies atomic.Uint64
	once    sync.Once
	closed  chan struct{}
}

func (c *turnConn) Read(p []byte) (n int, err error) {
	if len(c.rest) == 0 {
		if !c.began.IsZero() {
			c.endTurn()
		}
		select {
		case <-c.turn:
		case <-c.closed:
			return 0, io.EOF
		}
		c.rest = bytes.Clone(c.out)
		if c.resumes {
			c.acknowledge(c.replies.Load())
		}
		c.began = time.Now()
	}
	n = copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *turnConn) endTurn() {
	t := c.turns
	t.took = append(t.took, time.Since(c.began))
	if t.left--; t.left == 0 {
		close(t.over)
		return
	}
	c.next.turn <- struct{}{}
}

// Write counts what is to be acknowledged. The server writes whole frames.
func (c *turnConn) Write(p []byte) (int, error) {
	for rest := p; c.resumes && len(rest) > 0; rest = rest[4+binary.BigEndian.Uint32(rest):] {
		if rest[4] < 0x10 {
			c.replies.Add(1)
		}
	}
	return len(p), nil
}

func (c *turnConn) Close() error                   { c.once.Do(func() { close(c.closed) }); return nil }
func (*turnConn) LocalAddr() net.Addr              { return new(net.TCPAddr) }
func (*turnConn) RemoteAddr() net.Addr             { return new(net.TCPAddr) }
func (*turnConn) SetDeadline(time.Time) error      { return nil }
func (*turnConn) SetReadDeadline(time.Time) error  { return nil }
func (*turnConn) SetWriteDeadline(time.Time) error { return nil }

type turnListener struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *turnListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *turnListener) Close() error { l.once.Do(func() { close(l.closed) }); return nil }
func (*turnListener) Addr() net.Addr { return new(net.TCPAddr) }
