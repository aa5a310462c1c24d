package libnet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// stubborn is a conn one of whose methods does not return before until is closed.
type stubborn struct {
	net.Conn
	until <-chan struct{}
	in    string
}

func (c *stubborn) Write(p []byte) (int, error) {
	if c.in == "Write" {
		<-c.until
	}
	return c.Conn.Write(p)
}

func (c *stubborn) Close() error {
	if c.in == "Close" {
		<-c.until
	}
	return c.Conn.Close()
}

// Whatever does not return, a Shutdown does when its context has ended, and says what it left.
func TestAShutdownEndsWithItsContext(t *testing.T) {
	for _, stuck := range []string{"Write", "Close", "callback"} {
		for _, who := range []string{"Server", "Manager", "Session"} {
			t.Run(who+", "+stuck, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					until := make(chan struct{})
					defer func() { close(until); synctest.Wait() }()
					srv := testkit.NewServer(t, testkit.Frames, 8)
					near, peer := libnettest.Pipe()
					s := testkit.Adopt(t, srv, &stubborn{near, until, stuck})
					go func() { _, _ = io.Copy(io.Discard, peer); _ = peer.Close() }()
					if stuck == "callback" {
						s.OnClose(func() { <-until })
					}
					testkit.MustSend(t, s, []byte("x"))
					synctest.Wait()
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
					defer cancel()
					down := map[string]func(context.Context) error{
						"Server": srv.Shutdown, "Manager": srv.Manager().Shutdown, "Session": s.Shutdown,
					}[who]
					begun := time.Now()
					err := down(ctx)
					if took := time.Since(begun); took < time.Second || took > 2500*time.Millisecond {
						t.Errorf("took %v, its context had 2 s", took)
					}
					var report *libnet.ShutdownError
					if !errors.As(err, &report) || !errors.Is(err, context.DeadlineExceeded) {
						if stuck != "Close" || who == "Server" { // of what is delivered and ended a session has no more to say
							t.Fatalf("Shutdown = %v", err)
						}
						return
					}
					if want := (stuck == "Write"); (report.Undelivered == 1) != want {
						t.Errorf("%+v", report)
					}
					if want := stuck != "Write"; (report.Running == 1) != want {
						t.Errorf("%+v; is a callback or a Close at work: %v", report, want)
					}
				})
			})
		}
	}
}

func TestAShutdownWaitsForCallbacksOfSessionsThatEndedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := testkit.NewServer(t, testkit.Frames, 8)
		near, peer := libnettest.Pipe()
		s := testkit.Adopt(t, srv, near)
		var ran atomic.Bool
		s.OnClose(func() { time.Sleep(8 * time.Second); ran.Store(true) })
		go s.Receive()
		_ = peer.Close()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil || !ran.Load() {
			t.Errorf("Shutdown = %v; the callback has run: %v", err, ran.Load())
		}
	})
}

func TestTheCountersAreFinalAtDoneThoughAWriteIgnoresClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		until := make(chan struct{})
		srv := testkit.NewServer(t, testkit.Frames, 8)
		near, _ := libnettest.Pipe()
		s := testkit.Adopt(t, srv, &stubborn{near, until, "Write"})
		testkit.MustSend(t, s, []byte("x"))
		synctest.Wait()
		_ = s.Close()
		<-s.Done()
		final := s.Stats()
		close(until)
		synctest.Wait()
		if s.Stats() != final || final.Discarded != 1 || final.Queued != 0 {
			t.Errorf("at Done %+v, then %+v", final, s.Stats())
		}
	})
}

func TestTheSecondOfTwoShutdownsWaitsForTheReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		working, finish := make(chan struct{}), make(chan struct{})
		srv := testkit.NewServer(t, testkit.Frames, 8)
		near, peer := libnettest.Pipe()
		go srv.ServeConn(near, libnet.HandlerFunc(func(s *libnet.Session) {
			_, _ = s.Receive()
			close(working)
			<-finish
			if err := s.Send([]byte("the reply")); err != nil {
				t.Errorf("Send = %v", err)
			}
			_, _ = s.Receive()
		}))
		testkit.MustWrite(t, peer, testkit.Frame("a request"))
		<-working
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if err := srv.Shutdown(testkit.TimeoutContext(t, 10*time.Second)); err != nil {
					t.Errorf("Shutdown = %v", err)
				}
			})
			synctest.Wait()
		}
		time.Sleep(100 * time.Millisecond)
		close(finish)
		got, err := io.ReadAll(peer)
		if err != nil || string(got) != string(testkit.Frame("the reply")) {
			t.Errorf("the peer got %q, %v", got, err)
		}
		_ = peer.Close()
		wg.Wait()
	})
}

func TestALastWordArrivesWithItsReason(t *testing.T) {
	testkit.OverTransports(t, func(t *testing.T, connect testkit.Connector) {
		near, far := connect(t)
		a, b := testkit.Adopt(t, testkit.NewServer(t, testkit.Frames, 8), near), testkit.Adopt(t, testkit.NewServer(t, testkit.Frames, 8), far)
		replaced := errors.New("logged in elsewhere")
		testkit.MustSend(t, a, []byte("the last word"))
		down := make(chan error, 1)
		go func() { down <- a.ShutdownWithError(testkit.TimeoutContext(t, testkit.Patience), replaced) }()
		testkit.MustReceive(t, b, "the last word")
		_, _ = b.Receive()
		testkit.WantErr(t, "ShutdownWithError", testkit.Await(t, testkit.Patience, "the end", down), nil)
		testkit.WantErr(t, "the reason", a.Err(), replaced)
	})
}

func TestWhatArrivedAndNobodyReceivedIsCounted(t *testing.T) {
	for _, mode := range []string{"serve", "event"} {
		t.Run(mode, func(t *testing.T) {
			srv, dial := listenOn(t, "tcp", 64, func(srv *libnet.Server) { srv.Linger = 300 * time.Millisecond })
			working, finish := make(chan struct{}, 1000), make(chan struct{})
			go serveEach(srv, mode, func(*libnet.Session, []byte) { working <- struct{}{}; <-finish })
			conn := dial()
			var sent int
			for range 1000 {
				request := testkit.Frame("a request")
				testkit.MustWrite(t, conn, request)
				sent += len(request)
			}
			<-working
			down := make(chan error, 1)
			go func() { down <- srv.Shutdown(testkit.TimeoutContext(t, testkit.Patience)) }()
			time.Sleep(50 * time.Millisecond) // nothing announces that the session has been asked
			close(finish)
			testkit.WantErr(t, "Shutdown", testkit.Await(t, testkit.Patience, "Shutdown", down), nil)
			st := srv.Stats()
			if got := int(st.MessagesIn)*len(testkit.Frame("a request")) + int(st.Dropped); got != sent {
				t.Errorf("%d bytes sent, %d accounted for: %+v", sent, got, st)
			}
		})
	}
}

func TestServeArrivedServesWhatHadArrived(t *testing.T) {
	for _, mode := range []string{"serve", "event"} {
		for _, queue := range []int{0, 2000} {
			t.Run(fmt.Sprint(mode, ", queue ", queue), func(t *testing.T) {
				srv, dial := listenOn(t, "tcp", queue, func(srv *libnet.Server) { srv.ServeArrived = true })
				working := make(chan struct{})
				var first sync.Once
				go serveEach(srv, mode, func(s *libnet.Session, msg []byte) {
					first.Do(func() { close(working); time.Sleep(50 * time.Millisecond) })
					_ = s.Send(msg)
				})
				conn := dial()
				const requests = 1000
				for range requests {
					testkit.MustWrite(t, conn, testkit.Frame("a request"))
				}
				<-working
				down := make(chan error, 1)
				go func() { down <- srv.Shutdown(testkit.TimeoutContext(t, testkit.Patience)) }()
				got, err := io.ReadAll(conn)
				_ = conn.Close()
				if want := requests * len(testkit.Frame("a request")); err != nil || len(got) != want {
					t.Errorf("%d bytes of replies, want %d; %v", len(got), want, err)
				}
				testkit.WantErr(t, "Shutdown", testkit.Await(t, testkit.Patience, "Shutdown", down), nil)
				if st := srv.Stats(); st.Dropped != 0 || st.MessagesIn != requests {
					t.Errorf("%+v", st)
				}
			})
		}
	}
}

func TestShutdownReadsAPeerThatFloodsItWithinABound(t *testing.T) {
	srv, dial := listenOn(t, "tcp", 8, func(srv *libnet.Server) { srv.Linger = 2 * time.Second })
	go srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) { <-s.Done() }))
	conn := dial()
	testkit.Eventually(t, "the session", func() bool { return srv.Stats().Open == 1 })
	go func() {
		flood := make([]byte, 1<<20)
		for {
			if _, err := conn.Write(flood); err != nil {
				return
			}
		}
	}()
	_ = srv.Shutdown(testkit.TimeoutContext(t, testkit.Patience))
	if dropped := srv.Stats().Dropped; dropped == 0 || dropped > 64<<20 { // 16 MiB read, and what the kernel held
		t.Errorf("%d bytes were read away", dropped)
	}
}

// doc.go: Server.Shutdown delivers "what was accepted, and otherwise" says "exactly how many messages were not
// written".
func TestServerShutdownTellsWhatIsLostWhileAHandlerIsAtWork(t *testing.T) {
	for _, busy := range []bool{true, false} {
		name := "handler at work"
		if !busy {
			name = "control: handler waits"
		}
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			srv := libnet.NewServer(l, codec.New(codec.Uint32BE, codec.Bytes), 1000)
			srv.Logger = testkit.Quiet
			srv.SendQueueBytes = -1
			at, release := make(chan *libnet.Session, 1), make(chan struct{})
			served := make(chan error, 1)
			go func() {
				served <- srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
					if _, err := s.Receive(); err != nil {
						return
					}
					for range 100 {
						_ = s.Send(make([]byte, 100<<10))
					}
					at <- s
					if busy {
						<-release
						return
					}
					_, _ = s.Receive()
				}))
			}()
			far, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			testkit.MustWrite(t, far, []byte{0, 0, 0, 1, 'x'})
			s := testkit.Await(t, 5*time.Second, "the session", at)
			time.Sleep(50 * time.Millisecond)
			result := make(chan error, 1)
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), 6*time.Second)
				defer cancel()
				result <- srv.Shutdown(ctx)
			}()
			time.Sleep(200 * time.Millisecond)
			before := s.Stats()
			_ = far.(*net.TCPConn).SetLinger(0)
			_ = far.Close() // a reset
			got := testkit.Await(t, 10*time.Second, "Shutdown", result)
			close(release)
			after := s.Stats()
			t.Logf("Shutdown: %v; queued when it had begun %d, discarded before %d, at the end %d", got, before.Queued, before.Discarded, after.Discarded)
			var lost *libnet.ShutdownError
			if after.Discarded > 0 && (!errors.As(got, &lost) || lost.Undelivered != after.Discarded) {
				t.Errorf("Shutdown returned %v; %d messages were not written, of which none was lost before it", got, after.Discarded-before.Discarded)
			}
			<-served
		})
	}
}

// A shutdown that another's context has cut short says why, though its own context has not ended.
func TestAShutdownThatAnotherCutsShortSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, _ := testkit.ConnectPipe(t)
		srv := libnet.NewServer(libnettest.NewListener(), testkit.Frames, 8)
		s, err := srv.NewSession(near) // its peer never ends
		if err != nil {
			t.Fatal(err)
		}
		long := make(chan error, 1)
		go func() { long <- s.Shutdown(t.Context()) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the short one: %v", err)
		}
		var left *libnet.ShutdownError
		if err := <-long; !errors.As(err, &left) || left.Forced != 1 || left.Err == nil {
			t.Errorf("the long one: %v", err)
		}
		srv.Stop()
	})
}

func TestAServersShutdownSaysThatCallbacksStillRunWhenItsContextIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := testkit.ConnectPipe(t)
		srv := libnet.NewServer(libnettest.NewListener(), testkit.Frames, 8)
		s, err := srv.NewSession(near)
		if err != nil {
			t.Fatal(err)
		}
		go testkit.ReadToEnd(t, far)
		release := make(chan struct{})
		s.OnClose(func() { <-release })
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_ = far.Close()
		var left *libnet.ShutdownError
		if err := srv.Shutdown(ctx); !errors.As(err, &left) || left.Running != 1 || !errors.Is(err, context.Canceled) {
			t.Errorf("Shutdown: %v", err)
		}
		close(release)
	})
}

// DropOldest drops as it was told to: what it drops while a handler is at work on its last message is no loss of the
// shutdown.
func TestAShutdownDoesNotReportWhatDropOldestDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := libnettest.PipeSize(10)
		srv := libnet.NewServer(libnettest.NewListener(), testkit.Frames, 2)
		srv.OnFull = libnet.DropOldest
		s, err := srv.NewSession(near)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _ = s.Receive()
			time.Sleep(time.Second)
			for range 100 {
				_ = s.Send(make([]byte, 100))
			}
			_, _ = s.Receive()
		}()
		testkit.MustWrite(t, far, testkit.Frame("x"))
		time.Sleep(100 * time.Millisecond)
		shut := make(chan error, 1)
		go func() { shut <- srv.Shutdown(t.Context()) }()
		time.Sleep(2 * time.Second)
		testkit.Drain(far)
		_ = far.Close()
		if err := <-shut; err != nil || s.Stats().Discarded < 90 {
			t.Errorf("Shutdown: %v; %+v", err, s.Stats())
		}
	})
}
