package libnet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/libnettest"
)

// ponger is a plain codec that answers a ping ('p') from within Receive, under no Send; a message is a line.
type ponger struct {
	rw     io.ReadWriter
	inSend func() // called within Send, before it writes
	pong   []byte
	after  func(msg any) error // what Send returns
}

func (c *ponger) Close() error { return nil }
func (c *ponger) Receive() ([]byte, error) {
	var b [1]byte
	for {
		if _, err := io.ReadFull(c.rw, b[:]); err != nil {
			return nil, err
		}
		if b[0] != 'p' {
			return b[:], nil
		}
		if _, err := c.rw.Write(c.pong); err != nil && !errors.Is(err, libnet.ErrSessionBlocked) {
			return nil, err
		}
	}
}
func (c *ponger) Send(msg any) error {
	if c.inSend != nil {
		c.inSend()
	}
	if _, err := c.rw.Write(fmt.Appendf(nil, "%v;", msg)); err != nil {
		return err
	}
	if c.after != nil {
		return c.after(msg)
	}
	return nil
}

// A pong that the receiver writes while a Send encodes becomes a part of that Send's message, and is dropped with it: by
// DropOldest, or because the message cannot be encoded after all.
func TestAPongThatMeetsASendIsNotDroppedWithItsMessage(t *testing.T) {
	for _, how := range []string{"DropOldest", "ErrEncode"} {
		t.Run(how, func(t *testing.T) {
			inSend, goOn := make(chan struct{}), make(chan struct{})
			var hold atomic.Bool
			p := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
				return &ponger{rw: rw, pong: []byte("PONG;"), inSend: func() {
					if hold.CompareAndSwap(true, false) {
						close(inSend)
						<-goOn
					}
				}, after: func(msg any) error {
					if msg == "bad" {
						return libnet.ErrEncode
					}
					return nil
				}}
			})
			srv := newServer(t, p, 2)
			srv.OnFull = libnet.DropOldest
			near, far := libnettest.PipeSize(4)
			s := adopt(t, srv, near)
			go s.Receive()
			mustSend(t, s, "in flight, and too long for the pipe")
			time.Sleep(50 * time.Millisecond)
			hold.Store(true)
			msg := "dropped"
			if how == "ErrEncode" {
				msg = "bad"
			}
			sent := make(chan error, 1)
			go func() { sent <- s.Send(msg) }()
			<-inSend
			mustWrite(t, far, []byte("p"))
			time.Sleep(50 * time.Millisecond) // the receiver has written its pong
			close(goOn)
			t.Log(<-sent)
			for i := range 3 {
				mustSend(t, s, fmt.Sprint(i))
			}
			go s.Shutdown(timeoutContext(t, patience))
			got, _ := io.ReadAll(far)
			if !bytes.Contains(got, []byte("PONG;")) {
				t.Errorf("the peer got %q: no pong", got)
			}
		})
	}
}

// "SendQueueBytes bounds the bytes that a session's queue holds."
func TestWhatACodecWritesInReceiveIsBoundedBySendQueueBytes(t *testing.T) {
	for name, maxMessage := range map[string]int{"default MaxMessage": 0, "no MaxMessage": -1} {
		t.Run(name, func(t *testing.T) {
			p := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
				return &ponger{rw: rw, pong: make([]byte, 1000)}
			})
			srv := newServer(t, p, 16)
			srv.SendQueueBytes, srv.MaxMessage, srv.WriteTimeout = 20_000, maxMessage, time.Minute
			near, far := connectPipe(t)
			s := adopt(t, srv, near)
			go s.Receive()
			ping := bytes.Repeat([]byte("p"), 4000)
			for range 10 {
				mustWrite(t, far, ping)
			}
			time.Sleep(300 * time.Millisecond)
			if n := s.Stats().QueuedBytes; n > 200_000 {
				t.Errorf("%d bytes are queued; SendQueueBytes is 20,000", n)
			}
		})
	}
}

// DESIGN.md: "Who waits stands in a line ... none is passed over."
func TestSendContextIsNotPassedOverForEver(t *testing.T) {
	srv := newServer(t, frames, 100_000)
	srv.SendQueueBytes = 1_000_000
	near, far := libnettest.PipeSize(40_000)
	s := adopt(t, srv, near)
	var read atomic.Int64
	go func() { // reads steadily
		buf := make([]byte, 40_000)
		for {
			n, err := far.Read(buf)
			read.Add(int64(n))
			if err != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	stop := make(chan struct{})
	defer close(stop)
	var accepted atomic.Int64
	go func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if s.Send(make([]byte, 1000)) == nil {
				accepted.Add(1)
			} else {
				time.Sleep(20 * time.Microsecond)
			}
		}
	}()
	eventually(t, "a full queue", func() bool { return s.Stats().QueuedBytes > 990_000 })
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	before, readBefore := accepted.Load(), read.Load()
	if err := s.SendContext(ctx, make([]byte, 400_000)); err != nil {
		t.Errorf("SendContext: %v; meanwhile %d other messages were accepted and the peer read %d bytes", err, accepted.Load()-before, read.Load()-readBefore)
	}
}

// docs/locks.md: a plain codec's Receive "may send".
func TestAReceiveWhoseCodecSendsOnASessionThatFailsReturns(t *testing.T) {
	var s *libnet.Session
	p := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		c := &twoWrites{rw}
		return &funcCodec{send: c.Send, receive: func() ([]byte, error) {
			if err := s.Send([]byte("hello")); err != nil {
				return nil, err
			}
			return c.Receive()
		}}
	})
	srv := newServer(t, p, 0)
	srv.Linger = 300 * time.Millisecond
	near, far := libnettest.Pipe()
	s = adopt(t, srv, near)
	_ = far.Close()
	done := make(chan error, 1)
	go func() {
		_, err := s.Receive()
		done <- err
	}()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Errorf("Receive has not returned; closed: %v, %v", s.IsClosed(), s.Err())
	}
}

// Stats "is final once Session.Done is closed".
func TestCountersAreFinalAtDone(t *testing.T) {
	for _, kind := range []string{"FrameParser", "plain", "bare"} {
		t.Run(kind, func(t *testing.T) {
			at, goOn := make(chan struct{}), make(chan struct{})
			stop := func() { close(at); <-goOn }
			srv := newServer(t, libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
				inner := frames.NewCodec(rw)
				if kind == "plain" {
					two := &twoWrites{rw}
					return &funcCodec{send: two.Send, receive: func() ([]byte, error) {
						msg, err := two.Receive()
						stop()
						return msg, err
					}}
				}
				return scriptedParser{inner, func(src []byte) ([]byte, int, error) {
					stop()
					return inner.(libnet.FrameParser).ParseFrame(src)
				}}
			}), 4)
			var s *libnet.Session
			if kind == "bare" {
				s = libnet.NewSession(&funcCodec{receive: func() ([]byte, error) { stop(); return []byte("x"), nil }}, 4)
			} else {
				near, far := connectTCP(t)
				s = adopt(t, srv, near)
				mustWrite(t, far, frame("hello"))
			}
			received := make(chan error, 1)
			go func() {
				_, err := s.Receive()
				received <- err
			}()
			<-at
			_ = s.Close()
			<-s.Done()
			final := s.Stats()
			close(goOn)
			<-received
			after := s.Stats()
			if final != after {
				t.Errorf("at Done   %+v\nand after %+v", final, after)
			}
			if kind != "bare" {
				if server2 := srv.Stats(); server2.MessagesIn != after.MessagesIn {
					t.Errorf("the session says %d messages, its server %d", after.MessagesIn, server2.MessagesIn)
				}
			}
		})
	}
}

type scriptedParser struct {
	libnet.Codec
	parse func(src []byte) ([]byte, int, error)
}

func (c scriptedParser) ParseFrame(src []byte) ([]byte, int, error) { return c.parse(src) }
func (c scriptedParser) AppendFrame(dst []byte, msg any) ([]byte, error) {
	return c.Codec.(libnet.FrameAppender).AppendFrame(dst, msg)
}
