package faults

import (
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

func TestD56OneOfManyClosesSucceedsAndTheCallbacksRunOnce(t *testing.T) {
	for _, queue := range []int{0, 16} {
		r := testkit.Serve(t, "pipe", func(srv *libnet.Server) { srv.SendQueue = queue }, testkit.NeverReceive)
		for range testkit.Size(100, 20_000) {
			conn, s := r.Open()
			var closed, callbacks atomic.Int32
			s.OnClose(func() { callbacks.Add(1) })
			start := make(chan struct{})
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					<-start
					for s.Send("x") == nil || !s.IsClosed() {
					}
				})
			}
			for range 2 {
				wg.Go(func() { testkit.ReceiveToEnd(s) })
			}
			for range 4 {
				wg.Go(func() {
					<-start
					switch err := s.Close(); {
					case err == nil:
						closed.Add(1)
					case err != libnet.ErrSessionClosed:
						t.Errorf("Close = %v", err)
					}
				})
			}
			go func() { _, _ = io.Copy(io.Discard, conn); conn.Close() }()
			close(start)
			wg.Wait()
			wait(t, s.Done(), "the end")
			testkit.Eventually(t, "the callback", func() bool { return callbacks.Load() > 0 })
			if closed.Load() != 1 || callbacks.Load() != 1 || s.Err() != libnet.ErrSessionClosed {
				t.Fatalf("%d closes succeeded, %d callbacks, %v", closed.Load(), callbacks.Load(), s.Err())
			}
		}
	}
}

// Every message that Send accepted is written or reported, whenever the session ends and whoever ends it.
func TestD57AcceptedIsWrittenPlusReported(t *testing.T) {
	for name, configure := range map[string]func(*libnet.Server){
		"a queue":            func(srv *libnet.Server) { srv.SendQueue = 16 },
		"a lossy queue":      func(srv *libnet.Server) { srv.SendQueue, srv.OnFull = 4, libnet.DropOldest },
		"a strict queue":     func(srv *libnet.Server) { srv.SendQueue, srv.OnFull = 64, libnet.CloseSession },
		"no queue":           func(srv *libnet.Server) {},
		"no queue, lossy":    func(srv *libnet.Server) { srv.OnFull = libnet.DropOldest },
		"no queue but bytes": func(srv *libnet.Server) { srv.SendQueueBytes = 64 },
	} {
		for _, network := range []string{"pipe", "tcp"} {
			t.Run(name+" on "+network, func(t *testing.T) {
				r := testkit.Serve(t, network, configure, testkit.NeverReceive)
				for i := range testkit.Size(21, 3000) {
					account(t, r, i)
				}
			})
		}
	}
}

// account runs one session to its end and checks its counters.
func account(t *testing.T, r *testkit.Rig, i int) {
	t.Helper()
	conn, s := r.Open()
	var group libnet.Group[int]
	group.Put(1, s)
	var accepted atomic.Uint64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !s.IsClosed() {
				if s.Send(make([]byte, 1000)) == nil {
					accepted.Add(1)
				}
				runtime.Gosched()
			}
		})
	}
	wg.Go(func() {
		for !s.IsClosed() {
			accepted.Add(uint64(group.Broadcast("to all").Sent))
			runtime.Gosched()
		}
	})
	var received atomic.Uint64
	go func() {
		for {
			if _, err := testkit.ReadFrame(conn); err != nil {
				conn.Close()
				return
			}
			received.Add(1)
		}
	}()
	for received.Load() < uint64(i%20) && !s.IsClosed() {
		runtime.Gosched()
	}
	switch i % 3 {
	case 0:
		_ = s.Close()
	case 1:
		_ = s.Shutdown(t.Context())
	case 2:
		_ = conn.Close()
	}
	wg.Wait()
	wait(t, s.Done(), "the end")
	stats := s.Stats()
	if stats.MessagesOut+stats.Discarded != accepted.Load() || stats.Queued != 0 || stats.QueuedBytes != 0 {
		t.Fatalf("round %d: %d accepted, %+v, ended with %v", i, accepted.Load(), stats, s.Err())
	}
	if i%3 == 1 && s.Err() == libnet.ErrSessionClosed && stats.Discarded != 0 && r.OnFull != libnet.DropOldest {
		t.Fatalf("round %d: Shutdown discarded %d", i, stats.Discarded)
	}
}

func TestD59ACloseCallbackThatComesLateRunsAtOnce(t *testing.T) {
	r := testkit.Serve(t, "pipe", nil, testkit.NeverReceive)
	for range testkit.Size(2000, 180_000) {
		conn, s := r.Open()
		var ran atomic.Int32
		var wg sync.WaitGroup
		wg.Go(func() { s.Close() })
		wg.Go(func() { s.OnClose(func() { ran.Add(1) }) })
		wg.Wait()
		if ran.Load() != 1 {
			t.Fatalf("the callback ran %d times", ran.Load())
		}
		conn.Close()
	}
}

func TestD60PutCloseAndRemoveLeaveNoClosedSessionBehind(t *testing.T) {
	r := testkit.Serve(t, "pipe", nil, testkit.NeverReceive)
	var group libnet.Group[int]
	for range testkit.Size(2000, 100_000) {
		conn, s := r.Open()
		var wg sync.WaitGroup
		wg.Go(func() { group.Put(1, s) })
		wg.Go(func() { group.Put(2, s) })
		wg.Go(func() { group.Remove(1, s) })
		wg.Go(func() { s.Close() })
		wg.Wait()
		if group.Len() != 0 || group.Get(1) != nil || group.Get(2) != nil {
			t.Fatalf("%d keys hold a closed session", group.Len())
		}
		conn.Close()
	}
}

func TestD61CallbacksAndLoopsMayUseTheGroupTheyComeFrom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testkit.Serve(t, "pipe", nil, testkit.NeverReceive)
		var group libnet.Group[int]
		for key := range 20 {
			_, s := r.Open()
			group.Put(key, s)
			s.OnClose(func() {
				group.Put(100+key, s) // closed: not added
				group.Remove(key, s)
				group.Broadcast("left")
			})
		}
		for key, s := range group.All() {
			group.Remove(key, s)
			group.Put(key+20, s)
			s.Close()
			group.Broadcast("closed one")
		}
		if group.Len() != 0 {
			t.Errorf("%d left", group.Len())
		}
	})
}

func TestD63ASessionThatFailsAtOnceLeavesTheCountersRight(t *testing.T) {
	for _, op := range []libnettest.Op{libnettest.OpRead, libnettest.OpWrite} {
		synctest.Test(t, func(t *testing.T) {
			r := testkit.Serve(t, "pipe", func(srv *libnet.Server) { srv.SendQueue = 1 }, func(s *libnet.Session) {
				_ = s.Send("greeting")
				testkit.ReceiveToEnd(s)
			})
			for range 100 {
				r.Faults = &libnettest.Faults{}
				r.Faults.Fail(op, 1, libnettest.Fault{Err: io.ErrClosedPipe})
				r.Dial()
			}
			synctest.Wait()
			if stats := r.Stats(); stats.Open != 0 || stats.Accepted != 100 || stats.Closed["error"] != 100 || r.Manager().Len() != 0 {
				t.Errorf("%v: %+v", op, stats)
			}
		})
	}
}

func TestD64NoSessionOutlivesAServerThatStops(t *testing.T) {
	for i := range testkit.Size(400, 10_000) {
		listener := libnettest.NewListener()
		srv := libnet.NewServer(listener, testkit.Frames64K, 0)
		var wg sync.WaitGroup
		var mu sync.Mutex
		var made []*libnet.Session
		keep := func(s *libnet.Session, err error) {
			if err == nil {
				mu.Lock()
				made = append(made, s)
				mu.Unlock()
			}
		}
		for range 4 {
			client, server := libnettest.Pipe()
			wg.Go(func() {
				keep(srv.NewSession(server))
				client.Close()
			})
		}
		if client, err := listener.Dial(); err == nil {
			client.Close()
		}
		wg.Go(func() { keep(srv.Accept()) })
		if i%2 == 0 {
			wg.Go(srv.Stop)
		} else {
			wg.Go(func() { _ = srv.Shutdown(t.Context()) })
		}
		wg.Wait()
		for _, s := range made {
			wait(t, s.Done(), "the end of a session of a stopped server")
		}
		if srv.Stop(); srv.Stats().Open != 0 || srv.Manager().Len() != 0 {
			t.Fatalf("%d open", srv.Stats().Open)
		}
	}
}

func TestD67CloseReleasesASendThatWaitsForItsPeer(t *testing.T) {
	for _, network := range []string{"pipe", "tcp", "tls"} {
		r := testkit.Serve(t, network, nil, testkit.ReceiveToEnd)
		conn, s := r.Open()
		testkit.MustWrite(t, conn, testkit.Frame("hello")) // and never reads
		sent := make(chan error, 1)
		go func() {
			for {
				if err := s.Send(make([]byte, testkit.Max64K)); err != nil {
					sent <- err
					return
				}
			}
		}()
		out := func() uint64 { return s.Stats().BytesOut }
		testkit.Eventually(t, "the send to wait", func() bool {
			before := out()
			time.Sleep(50 * time.Millisecond)
			return before > 0 && before == out()
		})
		testkit.Within(t, testkit.Patience, network+": Close", func() { s.Close() })
		if err := testkit.Await(t, testkit.Patience, network+": Send", sent); !errors.Is(err, libnet.ErrSessionClosed) {
			t.Errorf("%s: Send = %v", network, err)
		}
	}
}

func TestB36BothSidesCloseAtOnce(t *testing.T) {
	r := testkit.Serve(t, "tcp", nil, testkit.NeverReceive)
	for range testkit.Size(200, 10_000) {
		conn, s := r.Open()
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				t.Errorf("the client's close: %v", err)
			}
		})
		wg.Go(func() {
			if err := s.Close(); err != nil && err != libnet.ErrSessionClosed {
				t.Errorf("Close = %v", err)
			}
		})
		wg.Wait()
		wait(t, s.Done(), "the end")
	}
}

func TestStatsTakenWhileSessionsEndCountNothingTwice(t *testing.T) {
	r := testkit.Serve(t, "pipe", nil, testkit.ReceiveToEnd)
	n := testkit.Size(500, 10_000)
	for range 500 { // others, so that looking at all takes a while
		r.Open()
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for last := uint64(0); ; {
			stats := r.Stats()
			if stats.MessagesIn < last || stats.MessagesIn > uint64(n) {
				t.Errorf("%d messages after %d, of %d", stats.MessagesIn, last, n)
				return
			}
			last = stats.MessagesIn
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	for range n {
		conn, s := r.Open()
		testkit.MustWrite(t, conn, testkit.Frame("one"))
		conn.Close()
		wait(t, s.Done(), "the end")
	}
	close(stop)
	wg.Wait()
	testkit.Eventually(t, "the counters to be complete", func() bool { return r.Stats().Open == 500 })
	if got := r.Stats().MessagesIn; got != uint64(n) {
		t.Errorf("%d messages counted, want %d", got, n)
	}
}
