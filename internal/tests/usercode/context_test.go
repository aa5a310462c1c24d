package usercode

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/handover"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/monitor"
	"github.com/libnet-go/libnet/mux"
	"github.com/libnet-go/libnet/reconnect"
	"github.com/libnet-go/libnet/resume"
	"github.com/libnet-go/libnet/ws"
)

// A badContext is done after a while, and then panics when it is asked why; it panics for a value or a deadline at any
// time.
type badContext struct{ done chan struct{} }

func newBadContext() badContext {
	c := badContext{make(chan struct{})}
	time.AfterFunc(20*time.Millisecond, func() { close(c.done) })
	return c
}

func (c badContext) Done() <-chan struct{}     { return c.done }
func (badContext) Deadline() (time.Time, bool) { panic("Deadline") }
func (badContext) Value(any) any               { panic("Value") }

func (c badContext) Err() error {
	select {
	case <-c.done:
		panic("Err")
	default:
		return nil
	}
}

// hole is an address where connections are taken and nothing is said.
func hole(t *testing.T) string {
	l := testkit.Listen(t, "tcp")
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
		}
	}()
	return l.Addr().String()
}

// silent is a session whose peer says and reads nothing.
func silent(t *testing.T, p libnet.Protocol) *libnet.Session {
	s, err := (&libnet.Dialer{Protocol: p, Config: libnet.Config{SendQueue: 4, Logger: testkit.Quiet}}).Dial(t.Context(), "tcp", hole(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

var errNowhere = errors.New("nowhere")

func unconnected(t *testing.T) *reconnect.Client {
	c := &reconnect.Client{Dial: func(context.Context) (*libnet.Session, error) { return nil, errNowhere }, Logger: testkit.Quiet}
	t.Cleanup(func() { c.Close(); <-c.Done() })
	return c
}

// Package context, and net/http, ask a context on goroutines of their own, where a panic ends the process.
func TestAContextWhoseMethodsPanicEndsItsCallAndNotTheProcess(t *testing.T) {
	frames, calls := codec.New(codec.Uint32BE, codec.Bytes), mux.New(mux.JSON)
	fill := func(send func() error) {
		for send() == nil {
		}
	}
	for name, call := range map[string]func(t *testing.T, ctx context.Context){
		"Dial": func(t *testing.T, ctx context.Context) {
			_, _ = (&libnet.Dialer{Protocol: frames, TLSConfig: testkit.AnyTLS()}).Dial(ctx, "tcp", hole(t))
		},
		"ws.Dial": func(t *testing.T, ctx context.Context) {
			_, _ = ws.Dial(ctx, "ws://"+hole(t), &libnet.Dialer{Protocol: frames}, nil)
		},
		"ws.Dial over TLS": func(t *testing.T, ctx context.Context) {
			_, _ = ws.Dial(ctx, "wss://"+hole(t), &libnet.Dialer{Protocol: frames, TLSConfig: testkit.AnyTLS()}, nil)
		},
		"SendContext": func(t *testing.T, ctx context.Context) {
			s := silent(t, frames)
			fill(func() error { return s.SendContext(ctx, make([]byte, 100_000)) })
		},
		"Session.Shutdown": func(t *testing.T, ctx context.Context) {
			s := silent(t, frames)
			fill(func() error { return s.Send(make([]byte, 1<<20-4)) })
			_ = s.Shutdown(ctx)
		},
		"Server.Shutdown": func(t *testing.T, ctx context.Context) {
			srv := testkit.NewServer(t, frames, 4)
			near, _ := net.Pipe()
			s := testkit.Adopt(t, srv, near)
			fill(func() error { return s.Send(make([]byte, 100_000)) })
			_ = srv.Shutdown(ctx)
		},
		"mux.Call": func(t *testing.T, ctx context.Context) {
			s := silent(t, codec.New(codec.Uint32BE, calls))
			_, _ = mux.Call[int, int](ctx, calls.Start(s), "nothing", nil)
		},
		"mux.Call of a SyncPeer": func(t *testing.T, ctx context.Context) {
			_, _ = mux.Call[int, int](ctx, calls.SyncPeer(silent(t, codec.New(codec.Uint32BE, calls))), "nothing", nil)
		},
		"Client.Ready": func(t *testing.T, ctx context.Context) {
			c := unconnected(t)
			c.Start()
			_, _ = c.Ready(ctx)
		},
		"Client.Shutdown": func(t *testing.T, ctx context.Context) {
			c := unconnected(t)
			c.Start()
			_ = c.Send("held")
			_ = c.Shutdown(ctx)
		},
		"monitor.ListenAndServe": func(t *testing.T, ctx context.Context) {
			_ = monitor.ListenAndServe(ctx, "127.0.0.1:0", testkit.NewServer(t, frames, 4))
		},
		"handover.Give": func(t *testing.T, ctx context.Context) {
			near, _ := testkit.UnixPair(t)
			srv := libnet.NewServer(testkit.Listen(t, "tcp"), frames, 4)
			defer srv.Stop()
			_, _ = handover.Give(ctx, near, srv, handover.GiveOptions{})
		},
		"handover.Take": func(t *testing.T, ctx context.Context) {
			near, _ := testkit.UnixPair(t)
			_, _, _ = handover.Take(ctx, near, nil, handover.TakeOptions{})
		},
		"resume": func(t *testing.T, ctx context.Context) {
			s := new(resume.Client).Start(unconnected(t))
			_ = s.SendAcked(ctx, []byte("held"))
			fill(func() error { return s.SendContext(ctx, make([]byte, 1000)) })
			_ = s.Shutdown(ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			returned := make(chan struct{})
			go func() {
				defer close(returned)
				defer func() { _ = recover() }() // where its caller is told so
				call(t, newBadContext())
			}()
			testkit.Await(t, testkit.Patience, "its return", returned)
		})
	}
}

// A moodyContext has a deadline twice, and then panics when it is asked for that.
type moodyContext struct {
	context.Context
	asked atomic.Int32
}

func (c *moodyContext) Deadline() (time.Time, bool) {
	if c.asked.Add(1) > 2 {
		panic("Deadline")
	}
	return c.Context.Deadline()
}

// A server's sessions are shut down on goroutines of its own, which ask how long they have.
func TestAContextWhoseDeadlinePanicsShutsAServerDown(t *testing.T) {
	bounded, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	for name, ctx := range map[string]context.Context{"always": newBadContext(), "the third time": &moodyContext{Context: bounded}} {
		srv := testkit.NewServer(t, testkit.Frames, 4)
		near, _ := testkit.ConnectPipe(t)
		s := testkit.Adopt(t, srv, near)
		_ = srv.Shutdown(ctx)
		testkit.Eventually(t, name+": no session to be open", func() bool { return srv.Stats().Open == 0 }) // one context ends first
		if s.Err() != libnet.ErrServerClosed {
			t.Errorf("%s: the session ended with %v", name, s.Err())
		}
	}
}
