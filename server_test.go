package libnet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

func TestV2ACodecThatBlocksDelaysNoOtherSession(t *testing.T) {
	release := make(chan struct{})
	var made atomic.Int32
	blocking := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		if made.Add(1) == 1 {
			<-release
		}
		return testkit.Frames.NewCodec(rw)
	})
	serveEcho(t, blocking, func(t *testing.T, srv *libnet.Server, dial func() *libnet.Session) {
		stuck := dial()
		testkit.Eventually(t, "the first codec", func() bool { return made.Load() == 1 })
		for range 5 {
			s := dial()
			testkit.MustSend(t, s, []byte("are you there?"))
			testkit.MustReceive(t, s, "are you there?")
		}
		// A message to all, or a heartbeat, must not wait for the codec either.
		testkit.Within(t, time.Second, "a broadcast while a codec is being made", func() {
			if r := srv.Manager().Broadcast([]byte("to all")); r.Sent != 5 || r.Blocked != 1 {
				t.Errorf("the broadcast came to %+v; want 5 sent, 1 blocked", r)
			}
		})
		close(release)
		testkit.MustSend(t, stuck, []byte("late"))
		testkit.MustReceive(t, stuck, "late")
	})
}

func TestV2ACodecThatPanicsOrIsMissingCostsItsOwnSession(t *testing.T) {
	for name, fail := range map[string]func() libnet.Codec{
		"panics":  func() libnet.Codec { panic("no codec today") },
		"missing": func() libnet.Codec { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			var made atomic.Int32
			failing := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
				if made.Add(1) == 1 {
					return fail()
				}
				return testkit.Frames.NewCodec(rw)
			})
			serveEcho(t, failing, func(t *testing.T, srv *libnet.Server, dial func() *libnet.Session) {
				if _, err := dial().Receive(); err != io.EOF {
					t.Errorf("the client of the failed codec got %v; want io.EOF", err)
				}
				s := dial()
				testkit.MustSend(t, s, []byte("and now?"))
				testkit.MustReceive(t, s, "and now?")
				testkit.Eventually(t, "the failed session's end", func() bool { return srv.Stats().Closed["panic"] == 1 })
			})
		})
	}
}

// The callbacks of a session whose codec cannot be made run while it is being made.
func TestV2ACallbackMayUseASessionWhoseCodecFailed(t *testing.T) {
	failing := libnet.ProtocolFunc(func(io.ReadWriter) libnet.Codec { panic("no codec today") })
	srv := testkit.NewServer(t, failing, 4)
	near, _ := testkit.ConnectPipe(t)
	s := testkit.Adopt(t, srv, near)
	s.OnClose(func() {
		testkit.CheckErr(t, "Send", s.Send([]byte("x")), libnet.ErrPanic)
		if _, err := s.Receive(); !errors.Is(err, libnet.ErrPanic) {
			t.Errorf("Receive = %v; want ErrPanic", err)
		}
		if s.Codec() != nil {
			t.Error("there is a codec")
		}
	})
	testkit.Within(t, testkit.Patience, "Send on a session whose codec fails", func() {
		testkit.CheckErr(t, "Send", s.Send([]byte("x")), libnet.ErrPanic)
	})
}

// serveEcho runs test against an echo server on TCP.
func serveEcho(t *testing.T, p libnet.Protocol, test func(t *testing.T, srv *libnet.Server, dial func() *libnet.Session)) {
	t.Helper()
	srv, err := libnet.Serve("tcp", "127.0.0.1:0", p, 16)
	if err != nil {
		t.Fatal(err)
	}
	srv.Logger = testkit.Quiet
	served := make(chan error, 1)
	go func() { served <- srv.Serve(libnet.HandlerFunc(testkit.Echo)) }()
	test(t, srv, func() *libnet.Session {
		t.Helper()
		s, err := libnet.Connect("tcp", srv.Listener().Addr().String(), testkit.Frames, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	})
	srv.Stop()
	if err := testkit.Await(t, testkit.Patience, "Serve after Stop", served); err != libnet.ErrServerClosed || !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve = %v; want ErrServerClosed", err)
	}
}

// A conn whose Close waits until it is told to.
type stuckConn struct {
	net.Conn
	release chan struct{}
}

func (c stuckConn) Close() error {
	<-c.release
	return c.Conn.Close()
}

func TestV4StopHasABound(t *testing.T) {
	for _, what := range []string{"conn", "callback"} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := libnet.NewServer(libnettest.NewListener(), testkit.Frames, 0)
				srv.Logger = testkit.Quiet
				srv.Linger = 3 * time.Second
				release := make(chan struct{})
				near, _ := testkit.ConnectPipe(t)
				if what == "conn" {
					near = stuckConn{near, release}
				}
				s := testkit.Adopt(t, srv, near)
				if what == "callback" {
					s.OnClose(func() { <-release })
				}
				other, _ := testkit.ConnectPipe(t)
				healthy := testkit.Adopt(t, srv, other)
				began := time.Now()
				srv.Stop()
				if took := time.Since(began); took > srv.Linger {
					t.Errorf("Stop took %v; want at most Linger, %v", took, srv.Linger)
				}
				if !healthy.IsClosed() || srv.Stats().Open != 1 {
					t.Errorf("the healthy session is closed: %v; open: %d", healthy.IsClosed(), srv.Stats().Open)
				}
				close(release)
				srv.Stop()
				if open := srv.Stats().Open; open != 0 {
					t.Errorf("%d sessions are open in the end", open)
				}
			})
		})
	}
}

func TestS13StopReturnsAfterTheCloseCallbacks(t *testing.T) {
	for range 50 {
		srv := testkit.NewServer(t, testkit.Frames, 0)
		var ran atomic.Int32
		for range 8 {
			near, _ := libnettest.Pipe()
			testkit.Adopt(t, srv, near).OnClose(func() {
				time.Sleep(time.Millisecond)
				ran.Add(1)
			})
		}
		srv.Stop()
		if n := ran.Load(); n != 8 {
			t.Fatalf("Stop returned after %d of 8 callbacks", n)
		}
	}
}

func TestM2NoSessionSurvivesAStopThatItRacesWith(t *testing.T) {
	for range 300 {
		srv := testkit.NewServer(t, testkit.Frames, 0)
		var makers sync.WaitGroup
		for range 4 {
			makers.Go(func() {
				near, far := libnettest.Pipe()
				defer far.Close()
				s, err := srv.NewSession(near)
				if err != nil {
					testkit.CheckErr(t, "NewSession", err, libnet.ErrServerClosed)
					_ = far.SetReadDeadline(time.Now().Add(testkit.Patience))
					if _, err := far.Read(make([]byte, 1)); err != io.EOF {
						t.Errorf("the conn of a refused session is open: %v", err)
					}
					return
				}
				<-s.Done()
				testkit.CheckErr(t, "Err", s.Err(), libnet.ErrServerClosed)
			})
		}
		srv.Stop()
		makers.Wait()
		testkit.Eventually(t, "no open session", func() bool { return srv.Stats().Open == 0 && srv.Manager().Len() == 0 })
	}
}

// A main function ends when Serve returns: what a Shutdown still has to deliver must not end with it.
// Who has no time left for its sessions closes the listener all the same: the next server wants its address.
func TestAShutdownWithoutTimeHasClosedTheListener(t *testing.T) {
	for range 50 {
		l := testkit.Listen(t, "tcp")
		srv := libnet.NewServer(l, testkit.Frames, 8)
		go srv.Serve(libnet.HandlerFunc(testkit.NeverReceive))
		ctx, cancel := context.WithDeadline(t.Context(), time.Now())
		_ = srv.Shutdown(ctx)
		cancel()
		next, err := net.Listen("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = next.Close()
	}
}

func TestServeReturnsAfterTheShutdownThatEndedIt(t *testing.T) {
	for _, mode := range testkit.Modes[:2] {
		t.Run(mode.Name, func(t *testing.T) {
			srv, err := libnet.Serve("tcp", "127.0.0.1:0", testkit.Frames, 16)
			if err != nil {
				t.Fatal(err)
			}
			closed := make(chan struct{})
			srv.OnSession = func(s *libnet.Session) error {
				s.OnClose(func() { time.Sleep(50 * time.Millisecond); close(closed) })
				return nil
			}
			served := make(chan error, 1)
			handler := libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) { _ = s.Send(msg) })
			go func() { served <- mode.Serve(srv, handler) }()
			client, err := libnet.Connect("tcp", srv.Listener().Addr().String(), testkit.Frames, 16)
			if err != nil {
				t.Fatal(err)
			}
			if err := client.Send([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			if _, err := client.Receive(); err != nil {
				t.Fatal(err)
			}
			go func() { _, _ = client.Receive() }() // until the server's EOF
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			go func() { _ = srv.Shutdown(ctx) }()
			if err := <-served; err != libnet.ErrServerClosed {
				t.Errorf("served: %v", err)
			}
			select {
			case <-closed:
			default:
				t.Error("Serve returned while a close callback of the shutdown was running")
			}
		})
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

type passingError struct{}

func (passingError) Error() string   { return "not now" }
func (passingError) Timeout() bool   { return false }
func (passingError) Temporary() bool { return true }

func TestV1StopInterruptsTheBackOffAtOnce(t *testing.T) {
	stops := map[string]func(*libnet.Server){
		"Stop":     (*libnet.Server).Stop,
		"Shutdown": func(srv *libnet.Server) { _ = srv.Shutdown(context.Background()) },
	}
	for name, stop := range stops {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				listener := libnettest.NewListener()
				for range 20 {
					listener.Push(nil, passingError{})
				}
				srv := libnet.NewServer(listener, testkit.Frames, 0)
				srv.Logger = testkit.Quiet
				accepted := make(chan error)
				go func() {
					_, err := srv.Accept()
					accepted <- err
				}()
				time.Sleep(4 * time.Second) // by now the back-off is 1 s a time
				if n := listener.Accepts(); n < 9 || n > 12 {
					t.Errorf("%d calls of accept in 4 s; want about 10: 5, 10, 20 … 640 ms, then 1 s apart", n)
				}
				began := time.Now()
				stop(srv)
				if err := <-accepted; err != io.EOF {
					t.Errorf("Accept = %v; want io.EOF", err)
				}
				if took := time.Since(began); took > 10*time.Millisecond {
					t.Errorf("Accept returned %v after %s", took, name)
				}
			})
		})
	}
}

func TestV3AClosedListenerIsRecognisedWhateverItSays(t *testing.T) {
	wrapped := fmt.Errorf("der Horcher ist zu: %w", net.ErrClosed)
	liar := errors.New("use of closed network connection")
	for _, test := range []struct {
		err  error
		want error
	}{{wrapped, io.EOF}, {&net.OpError{Op: "accept", Err: net.ErrClosed}, io.EOF}, {liar, liar}} {
		listener := libnettest.NewListener()
		listener.Push(nil, test.err)
		srv := libnet.NewServer(listener, testkit.Frames, 0)
		srv.Logger = testkit.Quiet
		if _, err := srv.Accept(); !errors.Is(err, test.want) {
			t.Errorf("Accept after %q = %v; want %v", test.err, err, test.want)
		}
		srv.Stop()
	}
}
