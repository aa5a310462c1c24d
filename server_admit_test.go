package libnet_test

import (
	"log/slog"
	"net"
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
