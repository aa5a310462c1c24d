package usercode

import (
	"context"
	"crypto/tls"
	"math"
	"net"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// A conn's Write that ends its goroutine.
func TestAWriteThatEndsItsGoroutineEndsTheSession(t *testing.T) {
	for name, queue := range map[string]int{"queue": 8, "synchronous": 0} {
		t.Run(name, func(t *testing.T) {
			srv := testkit.NewServer(t, testkit.Frames, queue)
			srv.WriteTimeout, srv.Linger = 300*time.Millisecond, 300*time.Millisecond
			near, _ := testkit.ConnectPipe(t)
			s := testkit.Adopt(t, srv, &scriptedConn{Conn: near, write: func([]byte) (int, error) { runtime.Goexit(); return 0, nil }})
			go func() { _ = s.Send([]byte("x")) }()
			time.Sleep(50 * time.Millisecond)
			done := make(chan error, 1)
			go func() { done <- s.Send([]byte("another")) }()
			go s.Shutdown(context.Background())
			wantEndWithin(t, s, srv, testkit.Patience)
			_ = testkit.Await(t, testkit.Patience, "another Send", done)
		})
	}
}

// A codec's Send that ends its goroutine, on a session made from a bare codec.
func TestABareCodecThatEndsItsGoroutineEndsTheSession(t *testing.T) {
	s := libnet.NewSession(&testkit.FuncCodec{OnSend: func(any) error { runtime.Goexit(); return nil }}, 8)
	defer s.Close()
	testkit.MustSend(t, s, "x")
	go s.Shutdown(context.Background())
	wantEndWithin(t, s, nil, testkit.Patience)
}

// CloseWrite that ends its goroutine, or that does not return.
func TestACloseWriteThatDoesNotReturnEndsWithinLinger(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	for name, closeWrite := range map[string]func() error{
		"Goexit": func() error { runtime.Goexit(); return nil },
		"blocks": func() error { <-release; return nil },
	} {
		t.Run(name, func(t *testing.T) {
			srv := testkit.NewServer(t, testkit.Frames, 8)
			srv.WriteTimeout, srv.Linger = 300*time.Millisecond, 300*time.Millisecond
			near, _ := testkit.ConnectPipe(t)
			conn := &scriptedConn{Conn: near, closeWrite: closeWrite}
			made := make(chan *libnet.Session, 1)
			go srv.ServeConn(conn, libnet.HandlerFunc(func(s *libnet.Session) { made <- s }))
			s := testkit.Await(t, testkit.Patience, "the session", made)
			wantEndWithin(t, s, srv, testkit.Patience)
			testkit.Eventually(t, "no session open", func() bool { return srv.Stats().Open == 0 })
		})
	}
}

// A conn without write deadlines, as golang.org/x/crypto/ssh's channels are (their SetDeadline returns an error).
func TestWriteTimeoutEndsASessionWhoseConnHasNoDeadlines(t *testing.T) {
	for name, queue := range map[string]int{"queue": 8, "synchronous": 0} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := testkit.NewServer(t, testkit.Frames, queue)
				srv.WriteTimeout, srv.Linger = 300*time.Millisecond, 300*time.Millisecond
				near, far := libnettest.PipeSize(10)
				defer far.Close()
				conn := struct{ net.Conn }{&scriptedConn{Conn: near, writeDeadline: func(time.Time) error { return net.ErrClosed }}}
				s := testkit.Adopt(t, srv, conn)
				go s.Send(make([]byte, 1000))
				wantEndWithin(t, s, srv, testkit.Patience)
			})
		})
	}
}

// Close with a conn whose own Close does not return.
func TestCloseReturnsThoughTheConnsCloseDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		srv := testkit.NewServer(t, testkit.Frames, 8)
		near, _ := testkit.ConnectPipe(t)
		s := testkit.Adopt(t, srv, &scriptedConn{Conn: near, close: func() error { <-release; return near.Close() }})
		done := make(chan error, 1)
		go func() { done <- s.Close() }()
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			t.Error("Close has not returned")
		}
		close(release)
	})
}

// layerConn is a conn that runs on another one in this process, as TLS does, and panics for a deadline.
type layerConn struct {
	net.Conn
	deadline func()
}

func (c *layerConn) NetConn() net.Conn { return c.Conn }
func (c *layerConn) SetWriteDeadline(at time.Time) error {
	c.deadline()
	return c.Conn.SetWriteDeadline(at)
}

// A panic in a conn's SetWriteDeadline ends its session.
func TestAPanicInSetWriteDeadlineOfALayerEndsOnlyItsSession(t *testing.T) {
	inChild(t, func(t *testing.T) {
		srv := testkit.NewServer(t, testkit.Frames, 8)
		srv.WriteTimeout = 100 * time.Millisecond
		near, far := libnettest.PipeSize(10)
		defer far.Close()
		s := testkit.Adopt(t, srv, &layerConn{near, func() { panic("no deadlines here") }})
		testkit.MustSend(t, s, []byte("a"))
		testkit.Eventually(t, "the first message", func() bool { return s.Stats().MessagesOut == 1 })
		testkit.MustSend(t, s, make([]byte, 1000))
		wantEndWithin(t, s, srv, 5*time.Second)
	})
}

// The same with the Close of a conn below TLS, which a peer that does not read has called by a timer.
func TestAPanicInTheCloseOfAConnBelowTLSEndsOnlyItsSession(t *testing.T) {
	inChild(t, func(t *testing.T) {
		const size = 32 << 10
		near, far := libnettest.PipeSize(size)
		defer far.Close()
		server := tls.Server(&scriptedConn{Conn: near, close: func() error { _ = near.Close(); panic("a broken Close") }}, testkit.ServerTLS())
		client := tls.Client(far, testkit.ClientTLS())
		testkit.Handshake(t, server, client)
		srv := testkit.NewServer(t, testkit.Frames, 8)
		s := testkit.Adopt(t, srv, server)
		testkit.MustSend(t, s, make([]byte, 10_000))
		settle := func() int {
			testkit.Eventually(t, "an empty queue", func() bool { return s.Stats().Queued == 0 })
			return far.(interface{ Buffered() int }).Buffered()
		}
		testkit.MustSend(t, s, make([]byte, size-settle()-22-4-8192-22-100))
		testkit.MustSend(t, s, make([]byte, size-settle()-22-4))
		settle()
		_ = s.Close()
		wantEndWithin(t, s, srv, 5*time.Second)
	})
}

type scriptedRaw struct {
	syscall.RawConn
	broken *atomic.Bool
}

func (r scriptedRaw) Control(f func(fd uintptr)) error {
	if r.broken.Load() {
		panic("a broken Control")
	}
	return r.RawConn.Control(f)
}

type rawLayerConn struct {
	*net.TCPConn
	broken atomic.Bool
}

func (c *rawLayerConn) NetConn() net.Conn { return c.TCPConn }
func (c *rawLayerConn) SyscallConn() (syscall.RawConn, error) {
	raw, err := c.TCPConn.SyscallConn()
	return scriptedRaw{raw, &c.broken}, err
}

// The same with the Control of a conn's own RawConn, while a write waits for a slow peer.
func TestAPanicInControlEndsOnlyItsSession(t *testing.T) {
	inChild(t, func(t *testing.T) {
		srv := testkit.NewServer(t, testkit.Frames, 8)
		srv.WriteTimeout = time.Second
		near, _ := testkit.ConnectTCP(t)
		conn := &rawLayerConn{TCPConn: near.(*net.TCPConn)}
		s := testkit.Adopt(t, srv, conn)
		testkit.MustSend(t, s, []byte("a"))
		testkit.Eventually(t, "the first message", func() bool { return s.Stats().MessagesOut == 1 })
		for range 4 {
			_ = s.Send(make([]byte, 1<<20))
			_ = s.SendContext(testkit.TimeoutContext(t, 100*time.Millisecond), make([]byte, 1<<20))
		}
		conn.broken.Store(true)
		wantEndWithin(t, s, srv, 5*time.Second)
	})
}

// exitingConn ends the goroutine that asks for its descriptor, from some time on.
type exitingConn struct {
	net.Conn
	from time.Time
}

func (c exitingConn) SyscallConn() (syscall.RawConn, error) {
	if !time.Now().Before(c.from) {
		runtime.Goexit()
	}
	return nil, net.ErrClosed
}

// The timer's goroutine asks when IdleTimeout has passed. Without it no timeout would pass any more.
func TestAConnThatEndsTheTimersGoroutineEndsItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := testkit.NewServer(t, testkit.Frames, 8)
		srv.IdleTimeout = time.Second
		near, _ := testkit.ConnectPipe(t)
		s := testkit.Adopt(t, srv, exitingConn{near, time.Now().Add(time.Second)})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !s.IsClosed() {
			t.Error("the session is open, and nothing ends it")
		}
	})
}

// Of a conn that says it has read more than it was given room for, nothing is counted.
func TestAReadThatSaysTooMuchIsNotCountedAsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := testkit.NewServer(t, testkit.Frames, 8)
		near, _ := testkit.ConnectPipe(t)
		s := testkit.Adopt(t, srv, &scriptedConn{Conn: near, read: func([]byte) (int, error) { return math.MaxInt, nil }})
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if n := s.Stats().Dropped; n != 0 {
			t.Errorf("%d bytes dropped, of a peer that has sent nothing", n)
		}
	})
}
