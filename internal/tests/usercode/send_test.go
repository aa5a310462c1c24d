package usercode

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// asking is a protocol like frames whose codec asks before it encodes.
func asking(ask func(msg any) error) libnet.Protocol {
	return libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		c := testkit.Frames.NewCodec(rw)
		return testkit.FramingCodec{Codec: c, OnAppend: func(dst []byte, msg any) ([]byte, error) {
			if err := ask(msg); err != nil {
				return dst, err
			}
			return c.(libnet.FrameAppender).AppendFrame(dst, msg)
		}}
	})
}

func TestAMarshalerMayCallItsSession(t *testing.T) {
	for _, queue := range []int{0, 8} {
		near, far := testkit.ConnectTCP(t)
		go testkit.Drain(far)
		var s *libnet.Session
		srv := testkit.NewServer(t, asking(func(msg any) error {
			if string(msg.([]byte)) == "outer" {
				_, _ = s.Stats(), s.Err()
				return s.Send([]byte("inner"))
			}
			return nil
		}), queue)
		s = testkit.Adopt(t, srv, near)
		testkit.Within(t, testkit.Patience, "Send whose marshaler sends", func() {
			if err := s.Send([]byte("outer")); err != nil {
				t.Error(err)
			}
		})
		testkit.Eventually(t, "both messages written", func() bool { return s.Stats().MessagesOut == 2 })
	}
}

func TestAMarshalerThatHangsHoldsUpNobodyElse(t *testing.T) {
	near, far := testkit.ConnectTCP(t)
	go testkit.Drain(far)
	hung, release := make(chan struct{}), make(chan struct{})
	srv := testkit.NewServer(t, asking(func(msg any) error {
		if string(msg.([]byte)) == "hang" {
			close(hung)
			<-release
		}
		return nil
	}), 8)
	s := testkit.Adopt(t, srv, near)
	sent := make(chan error, 1)
	go func() { sent <- s.Send([]byte("hang")) }()
	<-hung
	testkit.Within(t, testkit.Patience, "all else", func() {
		testkit.MustSend(t, s, []byte("another"))
		_, _ = s.Stats(), srv.Stats()
		if result := srv.Manager().Broadcast([]byte("to all")); result.Sent != 1 {
			t.Errorf("%+v", result)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = srv.Shutdown(ctx)
	})
	close(release)
	if err := testkit.Await(t, testkit.Patience, "Send", sent); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Send after Shutdown: %v", err)
	}
}

func TestASendUnderALockThatACloseCallbackTakesReturns(t *testing.T) {
	for name, test := range map[string]struct {
		queue int
		set   func(*libnet.Server)
		p     libnet.Protocol
		conn  func(net.Conn) net.Conn
		want  error
	}{
		"CloseSession":   {2, func(srv *libnet.Server) { srv.OnFull = libnet.CloseSession }, testkit.Frames, nil, libnet.ErrSlowConsumer},
		"panic":          {8, nil, asking(func(any) error { panic("a bug") }), nil, libnet.ErrPanic},
		"failed write":   {0, nil, testkit.Frames, func(c net.Conn) net.Conn { _ = c.Close(); return c }, nil},
		"NewCodec panic": {8, nil, libnet.ProtocolFunc(func(io.ReadWriter) libnet.Codec { panic("a bug") }), nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			srv := testkit.NewServer(t, test.p, test.queue)
			if test.set != nil {
				test.set(srv)
			}
			_, near := libnettest.PipeSize(10)
			if test.conn != nil {
				near = test.conn(near)
			}
			s := testkit.Adopt(t, srv, near)
			var mu sync.Mutex
			called := make(chan struct{})
			s.OnClose(func() { mu.Lock(); defer mu.Unlock(); close(called) })
			testkit.Within(t, testkit.Patience, "Send", func() {
				mu.Lock()
				defer mu.Unlock()
				var err error
				for i := 0; i < 10 && err == nil; i++ {
					err = s.Send([]byte("sixteen byte msg"))
				}
				if err == nil || test.want != nil && !errors.Is(err, test.want) {
					t.Errorf("Send: %v", err)
				}
			})
			testkit.Await(t, testkit.Patience, "the callback", called)
		})
	}
}

// Send: "runs the codec and the message's own methods, with no lock held, and no other code of the user's: a session
// that has to end, ends on a goroutine of its own". The user's conn, codec and logger want a lock which the caller of
// Send holds.
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

// callingLog is a log handler that calls the session and the server which it is told of.
type callingLog struct {
	slog.Handler
	call func()
}

func (l callingLog) Handle(context.Context, slog.Record) error { l.call(); return nil }
func (l callingLog) Enabled(context.Context, slog.Level) bool  { l.call(); return true }

func TestALoggerMayCallTheSessionThatPanicked(t *testing.T) {
	for _, pure := range []bool{false, true} {
		for _, queue := range []int{0, 8} {
			srv := testkit.NewServer(t, testkit.BombProtocol(pure), queue)
			near, far := libnettest.Pipe()
			defer far.Close()
			var s *libnet.Session
			srv.Logger = slog.New(callingLog{slog.DiscardHandler, func() {
				_ = s.Send("from the logger")
				_, _ = s.Stats(), srv.Stats()
				_ = s.Close()
			}})
			s = testkit.Adopt(t, srv, near)
			testkit.Within(t, testkit.Patience/2, "a Send that panics", func() {
				if err := s.Send(testkit.Bomb); !errors.Is(err, libnet.ErrPanic) {
					t.Errorf("Send = %v", err)
				}
			})
		}
	}
}
