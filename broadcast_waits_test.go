package libnet_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// A member's own codec that blocks, or a logger, does not hold a broadcast.
func TestABroadcastDoesNotWaitForAMembersCodec(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	bad := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		return &testkit.FuncCodec{OnSend: func(any) error { <-release; return nil }}
	})
	srv := testkit.NewServer(t, bad, 8)
	near, _ := testkit.ConnectPipe(t)
	s := testkit.Adopt(t, srv, near)
	s.Codec()
	done := make(chan struct{})
	go func() { defer close(done); srv.Manager().Broadcast([]byte("x")) }()
	testkit.Await(t, 3*time.Second, "Broadcast", done)
}

func TestABroadcastDoesNotWaitForALogger(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	srv := libnet.NewServer(libnettest.NewListener(), codec.New(codec.Uint16BE, codec.Bytes), 8)
	srv.Logger = slog.New(scriptedLogger{func(slog.Record) { <-release }})
	near, _ := testkit.ConnectPipe(t)
	s, err := srv.NewSession(near)
	if err != nil {
		t.Fatal(err)
	}
	s.Codec()
	done := make(chan struct{})
	go func() { defer close(done); srv.Manager().Broadcast(struct{}{}) }() // cannot be encoded
	testkit.Await(t, 3*time.Second, "Broadcast", done)
}

// Dial's context bounds the making of the codec, too.
func TestDialReturnsWithItsContextWhileTheCodecIsBeingMade(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		if conn, err := l.Accept(); err == nil {
			accepted <- conn // and says nothing
		}
	}()
	d := libnet.Dialer{Protocol: helloProtocol()}
	d.NetDialer.Timeout, d.HandshakeTimeout = 100*time.Millisecond, 100*time.Millisecond
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		s, err := d.Dial(ctx, "tcp", l.Addr().String())
		if err == nil {
			_ = s.Close()
		}
		done <- err
	}()
	select {
	case <-done:
	case <-time.After(3 * time.Second):
		t.Error("Dial has not returned 3 s after its context")
		_ = (<-accepted).Close()
		<-done
	}
}

// helloProtocol is one whose NewCodec reads a hello first.
func helloProtocol() libnet.Protocol {
	return libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		var b [1]byte
		_, _ = io.ReadFull(rw, b[:])
		return testkit.Frames.NewCodec(rw)
	})
}

// The codec of a member that says nothing is made by one goroutine, however many broadcasts there are.
func TestABroadcastLeavesNoGoroutineWithAMemberWhoseCodecIsBeingMade(t *testing.T) {
	srv := testkit.NewServer(t, helloProtocol(), 8)
	near, _ := testkit.ConnectPipe(t)
	testkit.Adopt(t, srv, near)
	before := runtime.NumGoroutine()
	for range 30 {
		srv.Manager().Broadcast("x")
	}
	testkit.Eventually(t, "few goroutines", func() bool { return runtime.NumGoroutine()-before <= 5 })
}

// A broadcast waits 10 ms for a codec that is being made.
func TestABroadcastWaitsForOneSlowCodecNoLongerThanItSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := libnet.NewServer(libnettest.NewListener(), helloProtocol(), 8)
		near, far := libnettest.Pipe()
		s, err := srv.NewSession(near)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			begin := time.Now()
			srv.Manager().Broadcast("x")
			if took := time.Since(begin); took > 20*time.Millisecond {
				t.Errorf("a broadcast waited %v for one member", took)
			}
		}
		_ = s.Close()
		_ = far.Close()
		srv.Stop()
	})
}

func TestSendContextReturnsWithItsContextWhileTheCodecIsBeingMade(t *testing.T) {
	for name, queue := range map[string]int{"queue": 8, "synchronous": 0} {
		t.Run(name, func(t *testing.T) {
			srv := testkit.NewServer(t, helloProtocol(), queue)
			near, _ := testkit.ConnectPipe(t)
			s := testkit.Adopt(t, srv, near)
			go s.Codec()
			time.Sleep(20 * time.Millisecond)
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- s.SendContext(ctx, []byte("x")) }()
			testkit.Await(t, 3*time.Second, "SendContext", done)
		})
	}
}
