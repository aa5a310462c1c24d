package faults

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

// resetConn has the kernel end a connection with RST.
func resetConn(tb testing.TB, conn net.Conn) {
	tb.Helper()
	if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
		tb.Fatal(err)
	}
	conn.Close()
}

func TestB25AResetIsOneQuietEndWhateverWasGoingOn(t *testing.T) {
	for name, prepare := range map[string]func(conn net.Conn, s *libnet.Session){
		"in a frame": func(conn net.Conn, s *libnet.Session) {
			testkit.MustWrite(t, conn, testkit.Frame("half of this")[:9])
			testkit.Eventually(t, "the half to be read", func() bool { return s.Stats().BytesIn == 9 })
		},
		"with a full queue": func(conn net.Conn, s *libnet.Session) {
			for s.Send(make([]byte, 16<<10)) == nil {
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := testkit.Serve(t, "tcp", func(srv *libnet.Server) { srv.SendQueue = 32 }, testkit.ReceiveToEnd)
			conn, s := r.Open()
			var ends atomic.Int32
			s.OnClose(func() { ends.Add(1) })
			prepare(conn, s)
			resetConn(t, conn)
			wait(t, s.Done(), "the end")
			if !errors.Is(s.Err(), syscall.ECONNRESET) && !errors.Is(s.Err(), syscall.EPIPE) {
				t.Errorf("ended with %v", s.Err())
			}
			testkit.Eventually(t, "the counters", func() bool { return r.Stats().Closed["reset"] == 1 })
			if stats := s.Stats(); ends.Load() != 1 || stats.Queued != 0 || stats.QueuedBytes != 0 {
				t.Errorf("%d callbacks, %+v", ends.Load(), stats)
			}
			if lines := r.Logs.With(""); len(lines) > 0 {
				t.Errorf("a reset is worth no line above debug: %q", lines)
			}
		})
	}
}

func TestB27AHalfClosedPeerGetsAllItsReplies(t *testing.T) {
	for _, queue := range []int{0, 2000} {
		r := testkit.Serve(t, "tcp", func(srv *libnet.Server) { srv.SendQueue = queue }, testkit.EchoWhileThereIsRoom)
		conn := r.Dial()
		const n = 1000
		go func() {
			for i := range n {
				_, _ = conn.Write(testkit.Frame(fmt.Sprint("request ", i)))
			}
			_ = conn.(*net.TCPConn).CloseWrite()
		}()
		for i := range n {
			reply, err := testkit.ReadFrame(conn)
			if err != nil || string(reply) != fmt.Sprint("request ", i) {
				t.Fatalf("queue %d: reply %d is %q, %v", queue, i, reply, err)
			}
		}
		if _, err := testkit.ReadFrame(conn); err != io.EOF {
			t.Errorf("queue %d: after the replies %v, want io.EOF", queue, err)
		}
	}
}

func TestB28AMemberThatNeverReadsHoldsUpNoBroadcast(t *testing.T) {
	for name, policy := range map[string]libnet.FullPolicy{"refused": libnet.RejectNewest, "dropped": libnet.DropOldest, "closed": libnet.CloseSession} {
		t.Run(name, func(t *testing.T) {
			members, messages := testkit.Size(100, 1000), 200
			r := testkit.Serve(t, "tcp", func(srv *libnet.Server) {
				// A healthy member's queue holds all, so that it loses nothing however slow the machine is;
				// the deaf one's fills up because the messages are large.
				srv.SendQueue, srv.OnFull = messages, policy
				srv.SendQueueBytes, srv.WriteTimeout = 1<<20, 300*time.Millisecond
			}, testkit.ReceiveToEnd)
			var group libnet.Group[int]
			var wg sync.WaitGroup
			var lost atomic.Int64
			msg := make([]byte, 4<<10)
			for i := range members {
				conn, s := r.Open()
				group.Put(i, s)
				if i == 0 {
					continue // never reads
				}
				wg.Go(func() {
					for range messages {
						if _, err := testkit.ReadFrame(conn); err != nil {
							lost.Add(1)
							return
						}
					}
				})
			}
			deaf := group.Get(0)
			var took []time.Duration
			var sum libnet.BroadcastResult
			for range messages {
				begin := time.Now()
				result := group.Broadcast(msg)
				took = append(took, time.Since(begin))
				sum.Sent += result.Sent
				sum.Blocked += result.Blocked
				sum.Closed += result.Closed
				runtime.Gosched()
			}
			wg.Wait()
			if lost.Load() > 0 {
				t.Errorf("%d healthy members lost messages", lost.Load())
			}
			wait(t, deaf.Done(), "the end of the deaf member")
			if err := deaf.Err(); !errors.Is(err, libnet.ErrWriteTimeout) && !errors.Is(err, libnet.ErrSlowConsumer) {
				t.Errorf("the deaf member ended with %v", err)
			}
			if stats := deaf.Stats(); group.Len() != members-1 || stats.QueuedBytes != 0 {
				t.Errorf("%d members left, %+v", group.Len(), stats)
			}
			slices.Sort(took)
			t.Logf("%d broadcasts to %d members: p50 %v, p99 %v; %+v", messages, members, took[len(took)/2], took[len(took)*99/100], sum)
		})
	}
}

func TestB31AFloodFromAPeerThatNeverReadsIsBounded(t *testing.T) {
	n := testkit.Size(100_000, 1_000_000)
	r := testkit.Serve(t, "tcp", func(srv *libnet.Server) {
		srv.SendQueue, srv.WriteTimeout, srv.SendBuffer = 16, time.Second, 16<<10
	}, func(s *libnet.Session) {
		for {
			msg, err := s.Receive()
			if err != nil {
				return
			}
			if len(msg) == 1 {
				msg = make([]byte, 1<<10) // an answer that is larger than the question
			}
			_ = s.Send(msg)
		}
	})
	goroutines := runtime.NumGoroutine()
	conn, s := r.Open()
	other := r.Dial()
	go func() {
		pings := make([]byte, 0, 64<<10)
		for len(pings) < 64<<10-5 {
			pings = append(pings, testkit.Frame("p")...)
		}
		for sent := 0; sent < n; sent += len(pings) / 5 {
			if _, err := conn.Write(pings); err != nil {
				return
			}
		}
	}()
	for !s.IsClosed() {
		testkit.Ask(t, other, "still fine?")
		if stats := s.Stats(); stats.Queued > 16 {
			t.Fatalf("%d answers queued", stats.Queued)
		}
		if more := runtime.NumGoroutine() - goroutines; more > 12 {
			t.Fatalf("%d more goroutines", more)
		}
		time.Sleep(time.Millisecond)
	}
	r.WantClosed(s, libnet.ErrWriteTimeout)
	t.Logf("took %d pings, answered %d, refused to answer %d", s.Stats().MessagesIn, s.Stats().MessagesOut, r.Stats().Blocked)
}

func TestB38PeersThatCloseWhileABroadcastIterates(t *testing.T) {
	r := testkit.Serve(t, "tcp", func(srv *libnet.Server) { srv.SendQueue = 64 }, testkit.ReceiveToEnd)
	for range testkit.Size(10, 200) {
		var group libnet.Group[int]
		var ends atomic.Int32
		conns := make([]net.Conn, 40)
		for i := range conns {
			var s *libnet.Session
			conns[i], s = r.Open()
			group.Put(i, s)
			s.OnClose(func() { ends.Add(1) })
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			for _, conn := range conns {
				conn.Close()
			}
		})
		for range 20 {
			result := group.Broadcast("anybody?")
			if all := result.Sent + result.Blocked + result.Closed; all > len(conns) {
				t.Errorf("%+v", result)
			}
		}
		wg.Wait()
		testkit.Eventually(t, "all to be gone", func() bool { return ends.Load() == int32(len(conns)) && group.Len() == 0 })
	}
}

// The kernel calls a socket writable when a third to three quarters of its buffer are free: a peer that reads slowly
// makes progress long before.
func TestAPeerThatReadsSlowlyIsNotTakenForOneThatDoesNot(t *testing.T) {
	testkit.Slow(t)
	t.Parallel() // it mostly waits
	for _, network := range []string{"tcp", "unix", "tls"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			mode := testkit.Mode{Network: network, Protocol: testkit.Frames, Serve: testkit.ReceiveLoop}
			conn, s := mode.Start(t, func(srv *libnet.Server) {
				srv.WriteTimeout, srv.Linger, srv.SendQueueBytes = 1200*time.Millisecond, 200*time.Millisecond, 16<<20
			}, func(*libnet.Session, []byte) {}).Open()
			for range 16 {
				testkit.MustSend(t, s, make([]byte, 256<<10))
			}
			sip := make([]byte, 24<<10) // 300 KB in a WriteTimeout: a receiver's window opens by 64 KB on a loopback interface
			for begun := time.Now(); time.Since(begun) < 3600*time.Millisecond; time.Sleep(100 * time.Millisecond) {
				if _, err := io.ReadFull(conn, sip); err != nil {
					t.Fatalf("after %v: %v, %v", time.Since(begun), err, s.Err())
				}
			}
			if s.IsClosed() {
				t.Fatalf("ended: %v", s.Err())
			}
			wait(t, s.Done(), "the end")
			testkit.WantErr(t, "the reason", s.Err(), libnet.ErrWriteTimeout)
		})
	}
}

// returnsLate is a conn whose Read, once it has brought something, takes its time to return.
type returnsLate struct {
	net.Conn
	late chan struct{} // closed: it returns
}

func (c returnsLate) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	<-c.late
	return n, err
}

// A net.Pipe refuses deadlines once its peer has closed, and its reader may have what came before.
func TestAMessageIsReceivedThoughAWriteFailsBeforeItsReadHasReturned(t *testing.T) {
	for _, queue := range []int{0, 8} {
		synctest.Test(t, func(t *testing.T) {
			srv := testkit.NewServer(t, testkit.Frames, queue)
			near, far := net.Pipe()
			conn := returnsLate{near, make(chan struct{})}
			s := testkit.Adopt(t, srv, conn)
			received := make(chan string, 1)
			go func() {
				msg, err := s.Receive()
				received <- fmt.Sprint(string(msg), " ", err)
			}()
			testkit.MustWrite(t, far, testkit.Frame("news"))
			_ = far.Close()
			_ = s.Send([]byte("never written"))
			synctest.Wait()
			close(conn.late)
			if got := <-received; got != "news <nil>" {
				t.Errorf("queue %d: Receive = %s; %+v", queue, got, s.Stats())
			}
			if _, err := s.Receive(); err != s.Err() || err == nil {
				t.Errorf("then Receive = %v; the session ended with %v", err, s.Err())
			}
		})
	}
}
