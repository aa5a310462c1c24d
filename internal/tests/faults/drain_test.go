package faults

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

func TestE84AHandlerAtWorkMaySendItsReplyAndGetsNoOtherMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var served []string
		working := make(chan struct{})
		r := testkit.Serve(t, "pipe", func(srv *libnet.Server) { srv.SendQueue = 8 }, func(s *libnet.Session) {
			for {
				msg, err := s.Receive()
				if err != nil {
					return
				}
				served = append(served, string(msg))
				close(working)
				time.Sleep(time.Second)
				if err := s.Send("reply to " + string(msg)); err != nil {
					t.Errorf("Send = %v", err)
				}
			}
		})
		conn, _ := r.Open()
		testkit.MustWrite(t, conn, append(testkit.Frame("first"), testkit.Frame("second")...))
		<-working
		begin := time.Now()
		go func() {
			reply, err := testkit.ReadFrame(conn)
			if string(reply) != "reply to first" {
				t.Errorf("got %q, %v", reply, err)
			}
			if _, err := testkit.ReadFrame(conn); err != io.EOF {
				t.Errorf("then %v, want io.EOF", err)
			}
			conn.Close()
		}()
		if err := r.Shutdown(t.Context()); err != nil || time.Since(begin) != time.Second {
			t.Errorf("Shutdown = %v after %v", err, time.Since(begin))
		}
		if len(served) != 1 {
			t.Errorf("served %v", served)
		}
	})
}

func TestE84AHandlerThatDoesNotComeBackIsWaitedForHalfTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testkit.Serve(t, "pipe", nil, func(s *libnet.Session) {
			_, _ = s.Receive()
			time.Sleep(time.Hour)
		})
		conn, s := r.Open()
		testkit.MustWrite(t, conn, testkit.Frame("work"))
		synctest.Wait()
		go testkit.ReadToEnd(t, conn)
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		begin := time.Now()
		err := r.Shutdown(ctx)
		if took := time.Since(begin); took != 4*time.Second || !s.IsClosed() {
			t.Errorf("Shutdown = %v after %v", err, took)
		}
		time.Sleep(time.Hour)
	})
}

func TestLingerBoundsTheWaitForAPeerThatDoesNotClose(t *testing.T) {
	for name, hold := range map[string]libnet.HandlerFunc{"receiving": testkit.ReceiveToEnd, "holding": testkit.NeverReceive} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := testkit.Serve(t, "pipe", func(srv *libnet.Server) {
					srv.SendQueue, srv.Linger = 8, 3*time.Second
					// None of these is for a session that is closing.
					srv.IdleTimeout, srv.HandshakeTimeout, srv.FrameTimeout = time.Second, time.Second, time.Second
					srv.Heartbeat = libnet.Heartbeat{Interval: time.Second, Message: func(*libnet.Session) any { return "beat" }}
				}, hold)
				conn, s := r.Open()
				testkit.MustWrite(t, conn, []byte{0})
				if err := s.Send("last"); err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				if err := s.Shutdown(t.Context()); err != nil || time.Since(begin) != 3*time.Second {
					t.Errorf("Shutdown = %v after %v", err, time.Since(begin))
				}
				if got, err := testkit.ReadFrame(conn); string(got) != "last" {
					t.Errorf("the peer got %q, %v", got, err)
				}
				r.WantClosed(s, libnet.ErrSessionClosed)
			})
		})
	}
}

func TestShutdownThatCannotWriteSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testkit.Serve(t, "pipe", func(srv *libnet.Server) { srv.SendQueue, srv.WriteTimeout = 8, time.Second }, testkit.ReceiveToEnd)
		_, s := r.Open()
		for range 4 {
			if err := s.Send(make([]byte, testkit.Max64K)); err != nil {
				t.Fatal(err)
			}
		}
		err := r.Shutdown(t.Context())
		var report *libnet.ShutdownError
		if !errors.As(err, &report) || !errors.Is(err, libnet.ErrWriteTimeout) || report.Forced != 0 {
			t.Errorf("Shutdown = %v, want an error for the write timeout", err)
		} else if stats := s.Stats(); stats.Discarded != report.Undelivered || stats.MessagesOut+report.Undelivered != 4 {
			t.Errorf("%+v; reported %d", stats, report.Undelivered)
		}
		r.WantClosed(s, libnet.ErrWriteTimeout)
	})
}

func TestE85EveryWayToEndAtOnce(t *testing.T) {
	for range testkit.Size(50, 2000) {
		synctest.Test(t, func(t *testing.T) {
			r := testkit.Serve(t, "pipe", func(srv *libnet.Server) { srv.SendQueue = 64 }, testkit.EchoWhileThereIsRoom)
			var ends atomic.Int32
			var accepted atomic.Uint64
			var sessions []*libnet.Session
			for range 4 {
				conn, s := r.Open()
				go testkit.ReadToEnd(t, conn)
				s.OnClose(func() { ends.Add(1) })
				sessions = append(sessions, s)
			}
			var wg sync.WaitGroup
			for _, s := range sessions {
				wg.Go(func() {
					for s.Send("x") == nil {
						accepted.Add(1)
						runtime.Gosched()
					}
				})
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			wg.Go(func() { _ = r.Shutdown(ctx) })
			wg.Go(func() { _ = r.Shutdown(ctx) })
			wg.Go(r.Stop)
			wg.Go(func() { sessions[0].Close() })
			wg.Go(func() { _ = sessions[1].Shutdown(ctx) })
			wg.Go(func() { r.Manager().Dispose() })
			wg.Wait()
			stats := r.Stats()
			if ends.Load() != 4 || stats.Open != 0 || stats.MessagesOut+stats.Discarded != accepted.Load() {
				t.Errorf("%d callbacks, %d accepted, %+v", ends.Load(), accepted.Load(), stats)
			}
		})
	}
}

func TestE86ShutdownBeforeServe(t *testing.T) {
	listener := libnettest.NewListener()
	srv := libnet.NewServer(listener, testkit.Frames64K, 0)
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
	if err := srv.Serve(libnet.HandlerFunc(testkit.EchoWhileThereIsRoom)); !errors.Is(err, libnet.ErrServerClosed) || !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve = %v", err)
	}
	if err := srv.ServeMessages(libnet.MessageHandlerFunc(func(*libnet.Session, []byte) {})); !errors.Is(err, libnet.ErrServerClosed) {
		t.Errorf("ServeMessages = %v", err)
	}
	if _, err := listener.Dial(); err == nil {
		t.Error("the listener is open")
	}
	conn, peer := libnettest.Pipe()
	if _, err := srv.NewSession(conn); !errors.Is(err, libnet.ErrServerClosed) {
		t.Errorf("NewSession = %v", err)
	}
	if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the refused connection is open: %v", err)
	}
	srv.Stop()
}

func TestE87ShutdownFromTheServersOwnGoroutines(t *testing.T) {
	t.Run("handler", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var r *testkit.Rig
			done := make(chan error, 1)
			r = testkit.Serve(t, "pipe", nil, func(s *libnet.Session) {
				_, _ = s.Receive()
				done <- r.Shutdown(context.Background())
			})
			other, conn := r.Dial(), r.Dial()
			go testkit.ReadToEnd(t, other)
			testkit.MustWrite(t, conn, testkit.Frame("shut down"))
			go testkit.ReadToEnd(t, conn)
			if err := <-done; err != nil {
				t.Errorf("Shutdown = %v", err)
			}
		})
	})
	t.Run("close callback", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := testkit.Serve(t, "pipe", nil, testkit.ReceiveToEnd)
			other, _ := r.Open()
			go func() { _, _ = io.Copy(io.Discard, other); other.Close() }()
			_, s := r.Open()
			s.OnClose(func() {
				manager := r.Manager()
				if manager.GetSession(s.ID()) != nil {
					t.Error("a closed session is in its manager")
				}
				for range manager.All() {
					manager.Broadcast("he left")
				}
				if err := r.Shutdown(context.Background()); err != nil {
					t.Errorf("Shutdown = %v", err)
				}
				r.Stop()
			})
			s.Close()
		})
	})
}

func TestE90StartAndStopAgainAndAgain(t *testing.T) {
	libnettest.VerifyNone(t)
	cycles, sessions := testkit.Size(5, 200), testkit.Size(50, 1000)
	var first, last runtime.MemStats
	for i := range cycles {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		srv := libnet.NewServer(listener, testkit.Frames64K, 8)
		srv.IdleTimeout = time.Hour // a timer each
		served := make(chan error, 1)
		go func() { served <- srv.Serve(libnet.HandlerFunc(testkit.EchoWhileThereIsRoom)) }()
		for range sessions {
			conn, err := testkit.DialTCP(listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			testkit.Ask(t, conn, "hello")
			go func() { _, _ = io.Copy(io.Discard, conn); conn.Close() }()
		}
		if err := srv.Shutdown(t.Context()); err != nil {
			t.Errorf("cycle %d: Shutdown = %v", i, err)
		}
		<-served
		if i == 1 {
			testkit.ReadMemory(&first)
		}
	}
	testkit.ReadMemory(&last)
	if grown := int64(last.HeapAlloc) - int64(first.HeapAlloc); grown > 1<<20 {
		t.Errorf("the heap grew by %d bytes in %d cycles", grown, cycles-2)
	}
}

func TestE91TheNextServerCanHaveTheAddressAtOnce(t *testing.T) {
	r := testkit.Serve(t, "tcp", nil, testkit.EchoWhileThereIsRoom)
	address := r.Listener().Addr().String()
	conn := r.Dial()
	testkit.Ask(t, conn, "to the first")
	go func() { _, _ = io.Copy(io.Discard, conn); conn.Close() }()
	if err := r.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	next, err := libnet.Serve("tcp", address, testkit.Frames64K, 0)
	if err != nil {
		t.Fatalf("rebind: %v", err)
	}
	go func() { _ = next.Serve(libnet.HandlerFunc(testkit.EchoWhileThereIsRoom)) }()
	defer next.Stop()
	again, err := testkit.DialTCP(address)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	testkit.Ask(t, again, "to the second")
}
