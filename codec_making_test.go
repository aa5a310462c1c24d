package libnet_test

import (
	"context"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
)

// helloProtocol is one whose NewCodec reads a hello first.
func helloProtocol() libnet.Protocol {
	return libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		var b [1]byte
		_, _ = io.ReadFull(rw, b[:])
		return frames.NewCodec(rw)
	})
}

// Each broadcast leaves a goroutine behind in the wait for a codec that is not made yet.
func TestABroadcastLeavesNoGoroutineWithAMemberWhoseCodecIsBeingMade(t *testing.T) {
	srv := newServer(t, helloProtocol(), 8)
	near, _ := connectPipe(t)
	adopt(t, srv, near)
	before := runtime.NumGoroutine()
	begin := time.Now()
	const rounds = 30
	for range rounds {
		srv.Manager().Broadcast("x")
	}
	t.Logf("a broadcast to one silent member took %v", time.Since(begin)/rounds)
	time.Sleep(50 * time.Millisecond)
	if n := runtime.NumGoroutine() - before; n > 5 {
		t.Errorf("%d goroutines more after %d broadcasts", n, rounds)
	}
}

// "A broadcast waits so long for one" (10 ms): it waits ten times as long for a single one.
func TestABroadcastWaitsForOneSlowCodecNoLongerThanItSays(t *testing.T) {
	srv := newServer(t, helloProtocol(), 8)
	near, _ := connectPipe(t)
	adopt(t, srv, near)
	srv.Manager().Broadcast("x")
	begin := time.Now()
	srv.Manager().Broadcast("x")
	if took := time.Since(begin); took > 60*time.Millisecond {
		t.Errorf("a broadcast waited %v for one member", took)
	}
}

// "It returns ctx's error when ctx ends first."
func TestSendContextReturnsWithItsContextWhileTheCodecIsBeingMade(t *testing.T) {
	for name, queue := range map[string]int{"queue": 8, "synchronous": 0} {
		t.Run(name, func(t *testing.T) {
			srv := newServer(t, helloProtocol(), queue)
			near, _ := connectPipe(t)
			s := adopt(t, srv, near)
			go s.Codec()
			time.Sleep(20 * time.Millisecond)
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- s.SendContext(ctx, []byte("x")) }()
			await(t, 3*time.Second, "SendContext", done)
		})
	}
}
