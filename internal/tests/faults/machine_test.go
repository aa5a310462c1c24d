package faults

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

func TestC41AFullTableCostsALineASecondAndABackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testkit.Serve(t, "pipe", nil, testkit.EchoWhileThereIsRoom)
		conn, _ := r.Open()
		for range 100 {
			r.Pipes.Push(nil, syscall.EMFILE)
		}
		begin := time.Now()
		for range 60 {
			testkit.Ask(t, conn, "existing sessions go on")
			time.Sleep(time.Second)
		}
		late := r.Dial()
		testkit.Ask(t, late, "accepted once that is over")
		took := time.Since(begin)
		// 5, 10, … 640 ms and then a second each: 107 errors would take 100 s.
		if stats := r.Stats(); stats.AcceptErrors != 100 || took < 90*time.Second || took > 100*time.Second {
			t.Errorf("%d accept errors in %v", stats.AcceptErrors, took)
		}
		if lines := len(r.Logs.With("accept failed")); lines < 90 || lines > int(took/time.Second)+1 {
			t.Errorf("%d lines in %v", lines, took)
		}
	})
}

func TestC44ShutdownDuringTheBackOffDoesNotWaitForIt(t *testing.T) {
	for name, stop := range map[string]func(srv *libnet.Server){
		"Stop":     func(srv *libnet.Server) { srv.Stop() },
		"Shutdown": func(srv *libnet.Server) { _ = srv.Shutdown(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				listener := libnettest.NewListener()
				srv := libnet.NewServer(listener, testkit.Frames64K, 0)
				srv.Logger = slog.New(slog.DiscardHandler)
				for range 20 {
					listener.Push(nil, syscall.ENFILE)
				}
				accepted := make(chan error, 1)
				go func() {
					_, err := srv.Accept()
					accepted <- err
				}()
				time.Sleep(5 * time.Second) // the back-off is at a second
				begin := time.Now()
				stop(srv)
				if err := <-accepted; err != io.EOF || time.Since(begin) != 0 {
					t.Errorf("Accept = %v after %v, want io.EOF at once", err, time.Since(begin))
				}
			})
		})
	}
}

func TestC46EveryThirdAcceptFailsAndNoConnectionIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testkit.Serve(t, "pipe", nil, testkit.EchoWhileThereIsRoom)
		var conns []net.Conn
		for i := range testkit.Size(300, 10_000) {
			if i%3 == 0 {
				r.Pipes.Push(nil, syscall.ECONNABORTED)
			}
			conns = append(conns, r.Dial())
		}
		for _, conn := range conns {
			testkit.Ask(t, conn, "accepted")
		}
		if stats := r.Stats(); stats.Accepted != uint64(len(conns)) || stats.AcceptErrors != uint64(len(conns)+2)/3 {
			t.Errorf("%+v", stats)
		}
	})
}

// noOptions is a conn on which no socket option can be set any more, as on one that was reset.
type noOptions struct{ net.Conn }

func (noOptions) SetWriteBuffer(int) error { return syscall.EINVAL }

// noReadBuffer is one that only refuses to bound what it receives.
type noReadBuffer struct{ net.Conn }

func (noReadBuffer) SetReadBuffer(int) error { return syscall.EINVAL }

func TestC47AConnectionWhoseOptionsCannotBeSetIsDroppedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testkit.Serve(t, "pipe", func(srv *libnet.Server) { srv.MaxSessions, srv.ReceiveBuffer = 1, 4096 }, testkit.EchoWhileThereIsRoom)
		for _, refusing := range []func(net.Conn) net.Conn{
			func(c net.Conn) net.Conn { return noOptions{c} },
			func(c net.Conn) net.Conn { return noReadBuffer{c} },
		} {
			client, server := libnettest.Pipe()
			r.Pipes.Push(refusing(server), nil)
			if _, err := client.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("the dropped connection: %v", err)
			}
		}
		testkit.Ask(t, r.Dial(), "the next one")
		if stats := r.Stats(); stats.Open != 1 || stats.Accepted != 1 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestC48AWriteErrorEndsTheSessionAndIsItsReason(t *testing.T) {
	for _, cause := range []syscall.Errno{syscall.ENOBUFS, syscall.ETIMEDOUT, syscall.EHOSTUNREACH, syscall.ECONNRESET, syscall.EPIPE} {
		for _, queue := range []int{0, 8} {
			synctest.Test(t, func(t *testing.T) {
				r := testkit.Serve(t, "pipe", func(srv *libnet.Server) { srv.SendQueue = queue }, testkit.NeverReceive)
				r.Faults = &libnettest.Faults{}
				r.Faults.Fail(libnettest.OpWrite, 2, libnettest.Fault{Err: &net.OpError{Op: "write", Err: cause}})
				_, s := r.Open()
				_ = s.Send("one")
				synctest.Wait()
				err := s.Send("two")
				synctest.Wait()
				if queue == 0 && !errors.Is(err, cause) {
					t.Errorf("Send = %v, want %v", err, cause)
				}
				r.WantClosed(s, cause)
				if n := r.Faults.Calls(libnettest.OpWrite); n != 2 {
					t.Errorf("%d writes: tried again after %v", n, cause)
				}
				if stats := s.Stats(); stats.MessagesOut != 1 || stats.Discarded != uint64(min(queue, 1)) {
					t.Errorf("queue %d: %+v", queue, stats)
				}
			})
		}
	}
}

func TestC53ADialEndsWithItsContext(t *testing.T) {
	full, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts, but the kernel does, so the codec comes to it
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	hanging := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	for name, test := range map[string]struct {
		dialer  libnet.Dialer
		address string
	}{
		"a resolver that hangs":       {libnet.Dialer{NetDialer: net.Dialer{Resolver: hanging}}, "libnet.test:1"},
		"a TLS server that is silent": {libnet.Dialer{TLSConfig: testkit.AnyTLS()}, full.Addr().String()},
	} {
		t.Run(name, func(t *testing.T) {
			libnettest.VerifyNone(t)
			test.dialer.Protocol = testkit.Frames64K
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			begin := time.Now()
			_, err := test.dialer.Dial(ctx, "tcp", test.address)
			if err == nil || time.Since(begin) > soon/2 {
				t.Errorf("Dial = %v after %v", err, time.Since(begin))
			}
		})
	}
	var dialer libnet.Dialer
	dialer.TLSConfig, dialer.Protocol, dialer.HandshakeTimeout = testkit.AnyTLS(), testkit.Frames64K, 50*time.Millisecond
	if _, err := dialer.Dial(t.Context(), "tcp", full.Addr().String()); !errors.Is(err, libnet.ErrHandshakeTimeout) {
		t.Errorf("Dial = %v, want ErrHandshakeTimeout", err)
	}
}

// brokenLog is a slog.Handler that panics.
type brokenLog struct{ slog.Handler }

func (brokenLog) Enabled(context.Context, slog.Level) bool { return true }

func (brokenLog) Handle(context.Context, slog.Record) error { panic("the log is broken") }

func TestC54ALoggerThatPanicsHarmsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testkit.Serve(t, "pipe", func(srv *libnet.Server) {
			srv.Logger = slog.New(brokenLog{slog.DiscardHandler})
			srv.IdleTimeout = time.Second
		}, func(s *libnet.Session) {
			if msg, _ := s.Receive(); string(msg) == "panic" {
				panic("with nobody to tell")
			}
			testkit.NeverReceive(s)
		})
		r.Pipes.Push(nil, syscall.EMFILE)
		conn, s := r.Open()
		testkit.MustWrite(t, conn, testkit.Frame("panic"))
		r.WantClosed(s, libnet.ErrPanic)
		_, s = r.Open()
		time.Sleep(time.Second)
		r.WantClosed(s, libnet.ErrIdleTimeout)
		conn, s = r.Open()
		testkit.MustWrite(t, conn, []byte("\xff\xff\xff\xff"))
		r.WantClosed(s, libnet.ErrFrameTooLarge)
	})
}

func TestC55HeartbeatsSurviveABusyProcessor(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	n := testkit.Size(100, 2000)
	beat := libnet.Heartbeat{Interval: 100 * time.Millisecond, Message: func(*libnet.Session) any { return "beat" }}
	r := testkit.Serve(t, "tcp", func(srv *libnet.Server) {
		srv.SendQueue, srv.IdleTimeout, srv.Heartbeat = 8, time.Second, beat
	}, testkit.ReceiveToEnd)
	dialer := libnet.Dialer{Protocol: testkit.Frames64K}
	dialer.SendQueue, dialer.IdleTimeout, dialer.Heartbeat = 8, time.Second, beat
	for range n {
		s, err := dialer.Dial(t.Context(), "tcp", r.Listener().Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		go testkit.ReceiveToEnd(s)
	}
	for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); {
		_ = make([]byte, 1<<20) // nothing else gets the processor but by preemption, and the collector is busy, too
	}
	runtime.GC()
	if stats := r.Stats(); stats.Open != n {
		t.Errorf("%d of %d sessions open: %v", stats.Open, n, stats.Closed)
	}
}
