package usercode

import (
	"context"
	"errors"
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

// A noReason is a context that is done and does not say why: one that closes Done first and then sets its error, for a moment.
type noReason struct {
	context.Context
	done chan struct{}
}

func (c noReason) Done() <-chan struct{} { return c.done }
func (c noReason) Err() error            { return nil }

// What such a SendContext would have sent was given back, and was perhaps another session's by then.
func TestSendContextHasAnErrorThoughItsContextGivesNone(t *testing.T) {
	for name, queue := range map[string]int{"synchronous": 0, "queue": 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := testkit.NewServer(t, testkit.Frames, queue)
				srv.WriteTimeout = time.Hour
				near, far := libnettest.PipeSize(10)
				testkit.CloseWithTest(t, near, far)
				s := testkit.Adopt(t, srv, near)
				go func() { _ = s.SendContext(context.Background(), make([]byte, 100)) }() // of which a part stays in flight
				synctest.Wait()
				ctx := noReason{context.Background(), make(chan struct{})}
				result := make(chan error, 1)
				go func() { result <- s.SendContext(ctx, []byte("waits")) }()
				synctest.Wait()
				close(ctx.done)
				testkit.WantErr(t, "SendContext", <-result, context.Canceled)
				_ = s.Close()
			})
		})
	}
}

// A countedContext misbehaves once its Done has been asked for a number of times.
type countedContext struct {
	context.Context
	left atomic.Int32
	then func()
}

func (c *countedContext) Done() <-chan struct{} {
	if c.left.Add(-1) < 0 {
		c.then()
	}
	return c.Context.Done()
}

// overHostileContexts calls test with contexts that misbehave when they are asked for the n-th time.
func overHostileContexts(t *testing.T, test func(t *testing.T, ctx context.Context)) {
	for name, then := range map[string]func(){
		"panics":             func() { panic("a context's Done") },
		"ends its goroutine": runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			for n := range 4 {
				inner, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				ctx := &countedContext{Context: inner, then: then}
				ctx.left.Store(int32(n))
				test(t, ctx)
			}
		})
	}
}

func TestAContextThatMisbehavesHoldsUpNoOtherSend(t *testing.T) {
	for _, p := range testkit.Protocols {
		t.Run(p.Name, func(t *testing.T) {
			overHostileContexts(t, func(t *testing.T, ctx context.Context) {
				near, far := testkit.ConnectPipe(t)
				s := testkit.Adopt(t, testkit.NewServer(t, p.Protocol, 0), near)
				go testkit.Drain(far)
				guarded(func() { _ = s.SendContext(ctx, []byte("hostile")) })
				testkit.Within(t, testkit.Patience, "the next Send", func() { testkit.MustSend(t, s, []byte("next")) })
			})
		})
	}
}

// Shutdown waits for each session on a goroutine of its own, where a panic would end the process.
func TestAContextThatMisbehavesHarmsNobodyButItsShutdown(t *testing.T) {
	overHostileContexts(t, func(t *testing.T, ctx context.Context) {
		near, far := testkit.ConnectPipe(t)
		srv := testkit.NewServer(t, testkit.Frames, 8)
		srv.Linger = 10 * time.Millisecond
		s := testkit.Adopt(t, srv, near)
		go testkit.Drain(far)
		guarded(func() { _ = srv.Manager().Shutdown(ctx) })
		guarded(func() { _ = srv.Shutdown(ctx) })
		srv.Stop()
		testkit.Await(t, testkit.Patience, "Done", s.Done())
	})
}

// guarded calls f, which may panic or end its goroutine.
func guarded(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = recover() }()
		f()
	}()
	<-done
}

type endingConn struct{ net.Conn }

func (endingConn) Write([]byte) (int, error) { runtime.Goexit(); return 0, nil }

func TestSendContextReturnsThoughTheConnEndsTheGoroutineThatWrites(t *testing.T) {
	for _, p := range testkit.Protocols {
		near, _ := testkit.ConnectPipe(t)
		s := testkit.Adopt(t, testkit.NewServer(t, p.Protocol, 0), endingConn{near})
		ctx, cancel := context.WithCancel(context.Background()) // which never ends before
		sent := make(chan error, 1)
		go func() { sent <- s.SendContext(ctx, []byte("message")) }()
		testkit.WantErr(t, "SendContext", testkit.Await(t, testkit.Patience, "SendContext", sent), libnet.ErrSessionClosed)
		cancel()
	}
}

var errCut = errors.New("the cable is cut")

// A deafConn fails to write, and its Read returns when the test ends, whatever its deadline.
type deafConn struct {
	net.Conn
	ended chan struct{}
}

func (deafConn) Write([]byte) (int, error)  { return 0, errCut }
func (c deafConn) Read([]byte) (int, error) { <-c.ended; return 0, errCut }

func TestASynchronousSendThatFailsDoesNotWaitForTheConnsRead(t *testing.T) {
	near, _ := testkit.ConnectPipe(t)
	c := deafConn{near, make(chan struct{})}
	defer close(c.ended)
	s := testkit.Adopt(t, testkit.NewServer(t, testkit.Frames, 0), c)
	testkit.Within(t, testkit.Patience, "Send", func() {
		testkit.WantErr(t, "Send", s.Send([]byte("message")), errCut)
	})
}
