package libnet_test

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// forgetful is a conn that has no address once it is closed.
type forgetful struct {
	net.Conn
	closed atomic.Bool
}

func (c *forgetful) Close() error { c.closed.Store(true); return c.Conn.Close() }

func (c *forgetful) RemoteAddr() net.Addr {
	if c.closed.Load() {
		return nil
	}
	return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}
}

func TestMaxSessionsPerIPUncountsWhatItCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := testkit.NewServer(t, testkit.Frames, 8)
		srv.MaxSessionsPerIP = 2
		for range 4 {
			near, far := libnettest.Pipe()
			_ = testkit.Adopt(t, srv, &forgetful{Conn: near}).Close()
			_ = far.Close()
		}
	})
}

// mute is a conn that learns its address from its peer, as the PROXY protocol has it.
type mute struct {
	net.Conn
	asked, told chan struct{}
}

func (c mute) RemoteAddr() net.Addr {
	c.asked <- struct{}{}
	<-c.told
	return nil
}

func TestAConnWhoseAddressWaitsHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := libnettest.NewListener()
		srv := libnet.NewServer(l, testkit.Frames, 8)
		srv.Logger, srv.MaxSessionsPerIP = testkit.Quiet, 2
		served := make(chan error, 1)
		go func() { served <- srv.Serve(libnet.HandlerFunc(testkit.Echo)) }()
		near, _ := libnettest.Pipe()
		slow := mute{near, make(chan struct{}, 8), make(chan struct{})}
		l.Push(slow, nil)
		<-slow.asked
		conn, err := l.Dial()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		testkit.MustWrite(t, conn, testkit.Frame("hello"))
		synctest.Wait()
		time.Sleep(time.Second)
		if srv.Stats().MessagesOut != 1 {
			t.Error("the other was not answered")
		}
		close(slow.told)
		srv.Stop()
		<-served
	})
}

func TestAListenerThatReturnsNoConnectionIsWaitedOut(t *testing.T) {
	for name, nothing := range map[string]net.Conn{"nil": nil, "a typed nil": (*net.TCPConn)(nil), "a nil of the user's": (*forgetful)(nil)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := libnettest.NewListener()
				srv := libnet.NewServer(l, testkit.Frames, 8)
				srv.Logger = testkit.Quiet
				served := make(chan error, 1)
				go func() { served <- srv.Serve(libnet.HandlerFunc(testkit.Echo)) }()
				for range 3 {
					l.Push(nothing, nil)
				}
				began := time.Now()
				conn, err := l.Dial()
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				testkit.MustWrite(t, conn, testkit.Frame("hello"))
				if _, err := conn.Read(make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
				if waited := time.Since(began); waited < 35*time.Millisecond || waited > time.Second {
					t.Errorf("answered after %v; want a back-off of 5, 10 and 20 ms", waited)
				}
				srv.Stop()
				<-served
				if stats := srv.Stats(); stats.AcceptErrors != 3 || stats.Accepted != 1 {
					t.Errorf("%+v", stats)
				}
			})
		})
	}
}

func TestASessionOfNoConnectionIsAnError(t *testing.T) {
	srv := testkit.NewServer(t, testkit.Frames, 8)
	for _, conn := range []net.Conn{nil, (*net.TCPConn)(nil), (*forgetful)(nil)} {
		if s, err := srv.NewSession(conn); err == nil || s != nil {
			t.Errorf("NewSession(%T): %v, %v", conn, s, err)
		}
		if err := srv.ServeConn(conn, libnet.HandlerFunc(testkit.Echo)); err == nil {
			t.Errorf("ServeConn(%T): no error", conn)
		}
	}
}

func TestServeWithoutAProtocolListensOnNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if _, err := libnet.Serve("unix", path, nil, 8); err == nil {
		t.Error("Serve without a protocol: no error")
	}
	srv, err := libnet.Serve("unix", path, testkit.Frames, 8)
	if err != nil {
		t.Fatalf("the address is not free: %v", err)
	}
	srv.Stop()
}

// mined is a conn that panics, or worse, when it is asked for its address.
type mined struct {
	net.Conn
	does func()
}

func (c mined) RemoteAddr() net.Addr { c.does(); return nil }

func TestAConnThatFailsInAdmissionIsClosedAndCountsAsRejected(t *testing.T) {
	for name, does := range map[string]func(){"panics": func() { panic("no address") }, "ends its goroutine": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := libnettest.NewListener()
				srv := libnet.NewServer(l, testkit.Frames, 8)
				logs := &testkit.Log{}
				srv.Logger, srv.MaxSessionsPerIP = slog.New(logs), 2
				served := make(chan error, 1)
				go func() { served <- srv.Serve(libnet.HandlerFunc(testkit.Echo)) }()
				near, far := libnettest.Pipe()
				l.Push(mined{near, does}, nil)
				if _, err := far.Read(make([]byte, 1)); err == nil {
					t.Error("it is not closed")
				}
				srv.Stop()
				<-served
				stats := srv.Stats()
				if stats.Accepted != 0 || stats.Rejected != 1 || stats.Open != 0 || len(stats.Closed) != 0 {
					t.Errorf("%+v", stats)
				}
				if n := len(logs.With("libnet: panic")); uint64(n) != stats.Panics {
					t.Errorf("%d panics counted, %d logged", stats.Panics, n)
				}
			})
		})
	}
}

// minedError panics whatever it is asked.
type minedError struct{ text *string }

func (e *minedError) Error() string   { return *e.text }
func (e *minedError) Is(error) bool   { return *e.text == "" }
func (e *minedError) As(any) bool     { return *e.text == "" }
func (e *minedError) Unwrap() []error { return []error{errors.New(*e.text)} }

func TestAReasonWhoseMethodsPanicIsCountedLikeAnyOther(t *testing.T) {
	for name, reason := range map[string]error{"its methods": new(minedError), "a typed nil": (*minedError)(nil)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := testkit.NewServer(t, testkit.Frames, 8)
				logs := &testkit.Log{}
				srv.Logger = slog.New(logs)
				near, far := libnettest.Pipe()
				defer far.Close()
				s := testkit.Adopt(t, srv, near)
				_ = s.CloseWithError(reason)
				if s.Err() != reason {
					t.Errorf("the reason: %T", s.Err())
				}
				if stats := srv.Stats(); stats.Open != 0 || stats.Closed["error"] != 1 {
					t.Errorf("%+v", stats)
				}
				if lines := logs.With("libnet: session ended"); len(lines) != 1 {
					t.Errorf("log: %q", lines)
				}
			})
		})
	}
}

func TestACloseCallbackThatEndsItsGoroutineKeepsNoneFromRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := testkit.NewServer(t, testkit.Frames, 8)
		near, far := libnettest.Pipe()
		defer far.Close()
		s := testkit.Adopt(t, srv, near)
		var ran []int
		for i := range 6 {
			s.OnClose(func() {
				ran = append(ran, i)
				if i%2 == 0 {
					runtime.Goexit()
				}
			})
		}
		go s.Close()
		synctest.Wait()
		if len(ran) != 6 || ran[0] != 0 || ran[5] != 5 {
			t.Errorf("ran %v", ran)
		}
		if stats := srv.Stats(); stats.Open != 0 || stats.Closed["closed"] != 1 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestCallbacksTakenBackAnywhereLeaveTheOthersInOrder(t *testing.T) {
	for back := range 1 << 4 {
		s := idleSession()
		var ran []int
		stops := make([]func() bool, 4)
		for i := range stops {
			stops[i] = s.OnClose(func() { ran = append(ran, i) })
		}
		left := 0
		for i, stop := range stops {
			if back>>i&1 == 0 {
				left++
				continue
			}
			if !stop() || stop() {
				t.Fatalf("%04b: stop must report true once", back)
			}
		}
		_ = s.Close()
		for i, n := range ran {
			if back>>n&1 != 0 || i > 0 && ran[i-1] > n {
				t.Errorf("%04b: ran %v", back, ran)
			}
		}
		if len(ran) != left || stops[0]() {
			t.Errorf("%04b: ran %v, and stop says true after that", back, ran)
		}
	}
}

func TestPutOfAClosedSessionChangesNothing(t *testing.T) {
	var group libnet.Group[string]
	open, closed := idleSession(), idleSession()
	defer open.Close()
	group.Put("user", open)
	_ = closed.Close()
	if group.Put("user", closed); group.Get("user") != open {
		t.Errorf("the key has %v", group.Get("user"))
	}
}

func TestAKeyThatNoMapTakesLeavesTheGroupAsItWas(t *testing.T) {
	var group libnet.Group[any]
	s := idleSession()
	group.Put("key", s)
	for what, f := range map[string]func(){
		"Put":    func() { group.Put([]int{1}, s) },
		"Get":    func() { group.Get([]int{1}) },
		"Remove": func() { group.Remove([]int{1}, s) },
	} {
		if !panics(f) {
			t.Errorf("%s does not panic", what)
		}
		testkit.Within(t, testkit.Patience, "the group after "+what, func() {
			if group.Get("key") != s || group.Len() != 1 {
				t.Errorf("after %s: %d keys", what, group.Len())
			}
		})
	}
	if group.Put(math.NaN(), s); group.Len() != 1 {
		t.Error("a key that nobody can find was added")
	}
	_ = s.Close()
	if group.Len() != 0 {
		t.Error("the session has not left")
	}
}

func panics(f func()) (did bool) {
	defer func() { did = recover() != nil }()
	f()
	return false
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
