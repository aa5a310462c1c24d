package libnet_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
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
					mu.Unlock()
				}
			}
			p := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
				inner := frames.NewCodec(rw)
				return &funcCodec{send: inner.Send, receive: inner.Receive, close: func() error { locks("codec's Close"); return inner.Close() }}
			})
			srv := libnet.NewServer(emptyListener(), p, 1)
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
	srv := libnet.NewServer(emptyListener(), frames, 0)
	srv.Logger = slog.New(scriptedLogger{func(slog.Record) { mu.Lock(); mu.Unlock() }})
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

// "It never waits for one": a codec panics over the message, and its conn's Close takes its time.
func TestABroadcastDoesNotWaitForTheEndOfAMemberWhoseCodecPanics(t *testing.T) {
	release := make(chan struct{})
	bad := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		return &funcCodec{send: func(any) error { panic("as asked") }}
	})
	srv := newServer(t, bad, 8)
	near, _ := connectPipe(t)
	s := adopt(t, srv, &scriptedConn{Conn: near, close: func() error { <-release; return near.Close() }})
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

// One session's callback, or its conn, keeps others open.
func TestDisposeClosesTheOthersThoughOneBlocks(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	m := libnet.NewManager()
	var sessions []*libnet.Session
	for range 10 {
		s := m.NewSession(&funcCodec{}, 4)
		s.OnClose(func() { <-release })
		sessions = append(sessions, s)
	}
	go m.Dispose()
	time.Sleep(time.Second)
	open := 0
	for _, s := range sessions {
		if !s.IsClosed() {
			open++
		}
	}
	if open > 0 {
		t.Errorf("%d of 10 sessions are open because a callback of another blocks", open)
	}
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
			srv := newServer(t, frames, queue)
			srv.WriteTimeout, srv.Linger = 300*time.Millisecond, 300*time.Millisecond
			near, _ := connectPipe(t)
			s := adopt(t, srv, &scriptedConn{Conn: near, write: func([]byte) (int, error) { runtime.Goexit(); return 0, nil }})
			go func() { _ = s.Send([]byte("x")) }()
			time.Sleep(50 * time.Millisecond)
			done := make(chan error, 1)
			go func() { done <- s.Send([]byte("another")) }()
			go s.Shutdown(context.Background())
			wantEndWithin(t, s, srv, 4*time.Second)
			_ = await(t, patience, "another Send", done)
		})
	}
}

// A codec's Send that ends its goroutine, on a session made from a bare codec.
func TestABareCodecThatEndsItsGoroutineEndsTheSession(t *testing.T) {
	s := libnet.NewSession(&funcCodec{send: func(any) error { runtime.Goexit(); return nil }}, 8)
	defer s.Close()
	mustSend(t, s, "x")
	go s.Shutdown(context.Background())
	wantEndWithin(t, s, nil, 4*time.Second)
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
			srv := newServer(t, frames, 8)
			srv.WriteTimeout, srv.Linger = 300*time.Millisecond, 300*time.Millisecond
			near, _ := connectPipe(t)
			conn := &scriptedConn{Conn: near, closeWrite: closeWrite}
			made := make(chan *libnet.Session, 1)
			go srv.ServeConn(conn, libnet.HandlerFunc(func(s *libnet.Session) { made <- s }))
			s := await(t, patience, "the session", made)
			wantEndWithin(t, s, srv, 4*time.Second)
			if open := srv.Stats().Open; open != 0 {
				t.Errorf("%d open", open)
			}
		})
	}
}

// A conn without write deadlines, as golang.org/x/crypto/ssh's channels are (their SetDeadline returns an error).
func TestWriteTimeoutEndsASessionWhoseConnHasNoDeadlines(t *testing.T) {
	for name, queue := range map[string]int{"queue": 8, "synchronous": 0} {
		t.Run(name, func(t *testing.T) {
			srv := newServer(t, frames, queue)
			srv.WriteTimeout, srv.Linger = 300*time.Millisecond, 300*time.Millisecond
			near, far := libnettest.PipeSize(10)
			defer far.Close()
			conn := struct{ net.Conn }{&scriptedConn{Conn: near, writeDeadline: func(time.Time) error { return net.ErrClosed }}}
			s := adopt(t, srv, conn)
			go s.Send(make([]byte, 1000))
			wantEndWithin(t, s, srv, 4*time.Second)
		})
	}
}

// Close with a conn whose own Close does not return.
func TestCloseReturnsThoughTheConnsCloseDoesNot(t *testing.T) {
	release := make(chan struct{})
	srv := newServer(t, frames, 8)
	near, _ := connectPipe(t)
	s := adopt(t, srv, &scriptedConn{Conn: near, close: func() error { <-release; return near.Close() }})
	done := make(chan error, 1)
	go func() { done <- s.Close() }()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Error("Close has not returned")
	}
	close(release)
}
