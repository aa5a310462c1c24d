package libnet_test

import (
	"bytes"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

func TestAHandlerThatOnlyPushesNoticesItsPeersEnd(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("looked for on Linux")
	}
	for _, network := range []string{"tcp", "unix", "tls"} {
		for name, first := range map[string]string{"a silent peer": "", "a peer that said something": "anybody there?"} {
			t.Run(network+", "+name, func(t *testing.T) {
				t.Parallel()
				srv, dial := listenOn(t, network, 8, func(srv *libnet.Server) { srv.Linger = time.Second })
				ended := make(chan error, 1)
				go srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
					if network == "tls" {
						_, _ = s.TLS()
					}
					<-s.Done()
					ended <- s.Err()
				}))
				conn := dial()
				if first != "" {
					testkit.MustWrite(t, conn, testkit.Frame(first))
				}
				testkit.Eventually(t, "the session", func() bool { return srv.Stats().Open == 1 })
				_ = conn.Close()
				testkit.WantErr(t, "the reason", testkit.Await(t, testkit.Patience, "the end", ended), io.EOF)
			})
		}
	}
}

// Who asks for Done and receives loses nothing of what arrived before the peer's end, however slow they are.
func TestASlowReceiverThatAskedForDoneGetsWhatArrived(t *testing.T) {
	t.Parallel()
	srv, dial := listenOn(t, "tcp", 8, func(srv *libnet.Server) { srv.Linger = 100 * time.Millisecond })
	got := make(chan int, 1)
	go srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
		_ = s.Done()
		n := 0
		for ; ; n++ {
			if _, err := s.Receive(); err != nil {
				break
			}
			time.Sleep(1100 * time.Millisecond)
		}
		got <- n
	}))
	conn := dial()
	for range 4 {
		testkit.MustWrite(t, conn, testkit.Frame("a request"))
	}
	_ = conn.Close()
	if n := testkit.Await(t, testkit.Patience, "the end", got); n != 4 {
		t.Errorf("received %d of 4", n)
	}
}

func TestIdleTimeoutSparesAPeerThatOnSessionKeepsWaiting(t *testing.T) {
	srv, dial := listenOn(t, "tcp", 8, func(srv *libnet.Server) {
		srv.IdleTimeout = 100 * time.Millisecond
		srv.OnSession = func(*libnet.Session) error { time.Sleep(500 * time.Millisecond); return nil }
	})
	received := make(chan error, 1)
	go srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) { _, err := s.Receive(); received <- err }))
	testkit.MustWrite(t, dial(), testkit.Frame("a login"))
	testkit.WantErr(t, "Receive", testkit.Await(t, testkit.Patience, "the login", received), nil)
}

// What is appended to a message goes nowhere else.
func TestAppendingToAMessageLeavesTheNextOneWhole(t *testing.T) {
	srv, dial := listenOn(t, "tcp", 8, nil)
	seen := make(chan string, 4)
	go srv.ServeMessages(libnet.MessageHandlerFunc(func(_ *libnet.Session, msg []byte) {
		seen <- string(append(msg, "##########"...))
	}))
	testkit.MustWrite(t, dial(), append(testkit.Frame("first"), testkit.Frame("second")...))
	for _, want := range []string{"first##########", "second##########"} {
		if got := testkit.Await(t, testkit.Patience, want, seen); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestACodecThatEndsTheReceiversGoroutineEndsTheSession(t *testing.T) {
	near, peer := libnettest.Pipe()
	p := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		return &testkit.FuncCodec{OnReceive: func() ([]byte, error) { runtime.Goexit(); return nil, nil }}
	})
	s := testkit.Adopt(t, testkit.NewServer(t, p, 8), near)
	testkit.MustWrite(t, peer, testkit.Frame("x"))
	go s.Receive()
	wantEnd(t, s, libnet.ErrSessionClosed)
	testkit.Within(t, testkit.Patience, "another Receive", func() { _, _ = s.Receive() })
}

// A Close that meets a receiver at work on what has arrived counts what that one received, and drops the rest.
func TestACloseDuringReceiveCountsWhatWasReceived(t *testing.T) {
	burst := bytes.Repeat(testkit.Frame("a message"), 200)
	for i := range 300 {
		near, far := testkit.ConnectTCP(t)
		s := testkit.Adopt(t, testkit.NewServer(t, testkit.Frames, 8), near)
		testkit.MustWrite(t, far, burst)
		received := make(chan uint64, 1)
		begun := make(chan struct{})
		go func() {
			n := uint64(0)
			for ; ; n++ {
				if _, err := s.Receive(); err != nil {
					break
				}
				if n == 0 {
					close(begun)
				}
			}
			received <- n
		}()
		testkit.Await(t, testkit.Patience, "the first message", begun)
		for range i {
			runtime.Gosched()
		}
		_ = s.Close()
		got := testkit.Await(t, testkit.Patience, "the receiver's end", received)
		stats := s.Stats()
		if stats.MessagesIn != got || stats.BytesIn != uint64(len(burst)) && stats.BytesIn != 0 {
			t.Fatalf("run %d: received %d messages, %+v", i, got, stats)
		}
		_ = far.Close()
	}
}
