package libnet_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// scriptedConn is a conn of which a test has replaced some methods.
type scriptedConn struct {
	net.Conn
	write         func(p []byte) (int, error)
	read          func(p []byte) (int, error)
	close         func() error
	closeWrite    func() error
	writeDeadline func(time.Time) error
}

func (c *scriptedConn) Write(p []byte) (int, error) {
	if c.write != nil {
		return c.write(p)
	}
	return c.Conn.Write(p)
}

func (c *scriptedConn) Read(p []byte) (int, error) {
	if c.read != nil {
		return c.read(p)
	}
	return c.Conn.Read(p)
}

func (c *scriptedConn) Close() error {
	if c.close != nil {
		return c.close()
	}
	return c.Conn.Close()
}

func (c *scriptedConn) CloseWrite() error {
	if c.closeWrite != nil {
		return c.closeWrite()
	}
	return c.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

func (c *scriptedConn) SetWriteDeadline(at time.Time) error {
	if c.writeDeadline != nil {
		return c.writeDeadline(at)
	}
	return c.Conn.SetWriteDeadline(at)
}

// scriptedLogger calls f for each line.
type scriptedLogger struct{ f func(slog.Record) }

func (l scriptedLogger) Enabled(context.Context, slog.Level) bool { return true }
func (l scriptedLogger) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l scriptedLogger) WithGroup(string) slog.Handler            { return l }
func (l scriptedLogger) Handle(_ context.Context, r slog.Record) error {
	l.f(r)
	return nil
}

// Send: "runs the codec and the message's own methods, with no lock held, and no other code of the user's: a session that has to
// end, ends on a goroutine of its own". The user's conn, codec and logger want a lock which the caller of Send holds.
func TestSendThatEndsItsSessionRunsNoOtherCodeOfTheUsers(t *testing.T) {
	for _, what := range []string{"codec's Close", "conn's Close", "logger"} {
		t.Run(what, func(t *testing.T) {
			var mu sync.Mutex
			locks := func(who string) {
				if who == what {
					mu.Lock()
					defer mu.Unlock()
				}
			}
			p := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
				inner := testkit.Frames.NewCodec(rw)
				return &testkit.FuncCodec{OnSend: inner.Send, OnReceive: inner.Receive, OnClose: func() error { locks("codec's Close"); return inner.Close() }}
			})
			srv := libnet.NewServer(libnettest.NewListener(), p, 1)
			srv.OnFull = libnet.CloseSession
			srv.Logger = slog.New(scriptedLogger{func(slog.Record) { locks("logger") }})
			near, far := libnettest.PipeSize(10)
			defer far.Close()
			s, err := srv.NewSession(&scriptedConn{Conn: near, close: func() error { locks("conn's Close"); return near.Close() }})
			if err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			done := make(chan struct{})
			go func() {
				defer close(done)
				for s.Send(make([]byte, 100)) == nil {
				}
			}()
			select {
			case <-done:
			case <-time.After(3 * time.Second):
				t.Errorf("Send is stuck")
			}
			mu.Unlock()
			<-done
		})
	}
}

// The same with a write that fails in a synchronous Send.
func TestASynchronousSendThatFailsRunsNoOtherCodeOfTheUsers(t *testing.T) {
	var mu sync.Mutex
	srv := libnet.NewServer(libnettest.NewListener(), testkit.Frames, 0)
	srv.Logger = slog.New(scriptedLogger{func(slog.Record) { mu.Lock(); defer mu.Unlock() }})
	near, far := libnettest.Pipe()
	s, err := srv.NewSession(near)
	if err != nil {
		t.Fatal(err)
	}
	_ = far.Close()
	mu.Lock()
	done := make(chan error, 1)
	go func() { done <- s.Send([]byte("x")) }()
	select {
	case <-done:
		mu.Unlock()
	case <-time.After(3 * time.Second):
		t.Errorf("Send is stuck")
		mu.Unlock()
		<-done
	}
}

// The codec of a member panics over the message, and its conn's Close takes its time: the broadcast goes on.
func TestABroadcastDoesNotWaitForTheEndOfAMemberWhoseCodecPanics(t *testing.T) {
	release := make(chan struct{})
	bad := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		return &testkit.FuncCodec{OnSend: func(any) error { panic("as asked") }}
	})
	srv := testkit.NewServer(t, bad, 8)
	near, _ := testkit.ConnectPipe(t)
	s := testkit.Adopt(t, srv, &scriptedConn{Conn: near, close: func() error { <-release; return near.Close() }})
	s.Codec()
	var group libnet.Group[int]
	group.Put(1, s)
	done := make(chan struct{})
	go func() { defer close(done); group.Broadcast([]byte("x")) }()
	select {
	case <-done:
		close(release)
	case <-time.After(3 * time.Second):
		t.Error("Broadcast waits for the conn's Close")
		close(release)
		<-done
	}
}

// A callback that blocks keeps no other session open.
func TestDisposeClosesTheOthersThoughOneBlocks(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	m := libnet.NewManager()
	var sessions []*libnet.Session
	for range 10 {
		s := m.NewSession(&testkit.FuncCodec{}, 4)
		s.OnClose(func() { <-release })
		sessions = append(sessions, s)
	}
	go m.Dispose()
	testkit.Eventually(t, "all sessions closed", func() bool {
		return !slices.ContainsFunc(sessions, func(s *libnet.Session) bool { return !s.IsClosed() })
	})
}

func wantEndWithin(t *testing.T, s *libnet.Session, srv *libnet.Server, bound time.Duration) {
	t.Helper()
	select {
	case <-s.Done():
	case <-time.After(bound):
		t.Errorf("the session has not ended within %v: %v, %+v", bound, s.Err(), s.Stats())
	}
}

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
	testkit.Slow(t)
	for name, queue := range map[string]int{"queue": 8, "synchronous": 0} {
		t.Run(name, func(t *testing.T) {
			srv := testkit.NewServer(t, testkit.Frames, queue)
			srv.WriteTimeout, srv.Linger = 300*time.Millisecond, 300*time.Millisecond
			near, far := libnettest.PipeSize(10)
			defer far.Close()
			conn := struct{ net.Conn }{&scriptedConn{Conn: near, writeDeadline: func(time.Time) error { return net.ErrClosed }}}
			s := testkit.Adopt(t, srv, conn)
			go s.Send(make([]byte, 1000))
			wantEndWithin(t, s, srv, testkit.Patience)
		})
	}
}

// Close with a conn whose own Close does not return.
func TestCloseReturnsThoughTheConnsCloseDoesNot(t *testing.T) {
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
}

// CloseSession is for a queue that is full: a codec that is being made, or at work on another message, ends nobody.
func TestABroadcastEndsNoSessionWhoseQueueHasRoom(t *testing.T) {
	t.Run("the codec is being made", func(t *testing.T) {
		srv := testkit.NewServer(t, helloProtocol(), 64)
		srv.OnFull = libnet.CloseSession
		near, _ := testkit.ConnectPipe(t)
		s := testkit.Adopt(t, srv, near)
		result := srv.Manager().Broadcast([]byte("x"))
		time.Sleep(50 * time.Millisecond)
		if s.IsClosed() {
			t.Errorf("%+v, %v", result, s.Err())
		}
	})
	t.Run("the codec is at work", func(t *testing.T) {
		p := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
			return &testkit.FuncCodec{OnSend: func(msg any) error {
				time.Sleep(300 * time.Millisecond)
				_, err := rw.Write(msg.([]byte))
				return err
			}}
		})
		srv := testkit.NewServer(t, p, 64)
		srv.OnFull = libnet.CloseSession
		near, _ := testkit.ConnectPipe(t)
		s := testkit.Adopt(t, srv, near)
		s.Codec()
		go s.Send([]byte("slow"))
		time.Sleep(50 * time.Millisecond)
		result := srv.Manager().Broadcast([]byte("x"))
		time.Sleep(50 * time.Millisecond)
		if s.IsClosed() {
			t.Errorf("%+v, %v", result, s.Err())
		}
	})
	t.Run("Send, the codec is at work", func(t *testing.T) {
		p := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
			return &testkit.FuncCodec{OnSend: func(msg any) error {
				time.Sleep(500 * time.Millisecond)
				_, err := rw.Write(msg.([]byte))
				return err
			}}
		})
		srv := testkit.NewServer(t, p, 64)
		srv.OnFull, srv.WriteTimeout = libnet.CloseSession, 100*time.Millisecond
		near, _ := testkit.ConnectPipe(t)
		s := testkit.Adopt(t, srv, near)
		s.Codec()
		go s.Send([]byte("slow"))
		time.Sleep(50 * time.Millisecond)
		err := s.Send([]byte("x")) // "who waits for another's codec gets ErrSessionBlocked after Config.WriteTimeout"
		if !errors.Is(err, libnet.ErrSessionBlocked) || s.IsClosed() {
			t.Errorf("%v, %v", err, s.Err())
		}
	})
}

// inChild runs the test again in a process of its own, which must not die.
func inChild(t *testing.T, child func(t *testing.T)) {
	if os.Getenv("BREAKER_CHILD") == t.Name() {
		child(t)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.timeout=30s")
	cmd.Env = append(os.Environ(), "BREAKER_CHILD="+t.Name())
	if out, err := cmd.CombinedOutput(); err != nil {
		if len(out) > 1500 {
			out = out[:1500]
		}
		t.Errorf("the process died: %v\n%s", err, out)
	}
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
		shaken := make(chan error, 1)
		go func() { shaken <- client.Handshake() }()
		if err := server.Handshake(); err != nil {
			t.Fatal(err)
		}
		if err := <-shaken; err != nil {
			t.Fatal(err)
		}
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
