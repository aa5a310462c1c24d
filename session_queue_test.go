package libnet_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// stalled runs test in a bubble with a session that may queue 3 messages and whose peer does not read:
// the first message, too large for the pipe, is being written, and two wait.
func stalled(t *testing.T, p libnet.Protocol, set func(*libnet.Server), test func(t *testing.T, s *libnet.Session, srv *libnet.Server, peer *testkit.TwoWrites)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		srv := libnet.NewServer(libnettest.NewListener(), p, 3)
		srv.Logger = testkit.Quiet
		if set != nil {
			set(srv)
		}
		near, far := libnettest.PipeSize(1000)
		s, err := srv.NewSession(near)
		if err != nil {
			t.Fatal(err)
		}
		testkit.MustSend(t, s, testkit.Message(0, 0, 3000))
		synctest.Wait()
		testkit.MustSend(t, s, testkit.Message(0, 1, 10))
		testkit.MustSend(t, s, testkit.Message(0, 2, 10))
		if queued := s.Stats().Queued; queued != 3 {
			t.Fatalf("%d messages are queued; want 3", queued)
		}
		test(t, s, srv, testkit.NewTwoWrites(far))
		_ = s.Close()
		_ = far.Close()
		srv.Stop()
	})
}

// wantNumbers expects these messages at the peer, and none after them.
func wantNumbers(t *testing.T, s *libnet.Session, peer *testkit.TwoWrites, want ...int) {
	t.Helper()
	for _, n := range want {
		msg, err := peer.Receive()
		if err != nil {
			t.Fatalf("the peer's Receive = %v; want message %d", err, n)
		}
		if _, number := testkit.ParseMessage(t, msg); number != n {
			t.Fatalf("the peer received message %d; want %d", number, n)
		}
	}
	synctest.Wait()
	stats := s.Stats()
	if stats.Queued != 0 || stats.QueuedBytes != 0 || stats.MessagesOut != uint64(len(want)) {
		t.Errorf("stats: %+v; want %d messages out", stats, len(want))
	}
}

func TestRejectNewestRefusesTheMessageAndKeepsTheQueue(t *testing.T) {
	for _, p := range testkit.Protocols {
		stalled(t, p.Protocol, nil, func(t *testing.T, s *libnet.Session, srv *libnet.Server, peer *testkit.TwoWrites) {
			if err := s.Send(testkit.Message(0, 3, 10)); err != libnet.ErrSessionBlocked {
				t.Errorf("Send on a full queue = %v", err)
			}
			if s.IsClosed() || srv.Stats().Blocked != 1 || s.Stats().Discarded != 0 {
				t.Errorf("closed %v, blocked %d, discarded %d", s.IsClosed(), srv.Stats().Blocked, s.Stats().Discarded)
			}
			wantNumbers(t, s, peer, 0, 1, 2)
			testkit.MustSend(t, s, testkit.Message(0, 4, 10))
			if msg, err := peer.Receive(); err != nil || msg[7] != 4 {
				t.Errorf("after room was made: %q, %v", msg, err)
			}
		})
	}
}

func TestDropOldestMakesRoomAndCountsWhatItDropped(t *testing.T) {
	drop := func(srv *libnet.Server) { srv.OnFull = libnet.DropOldest }
	for _, p := range testkit.Protocols {
		stalled(t, p.Protocol, drop, func(t *testing.T, s *libnet.Session, srv *libnet.Server, peer *testkit.TwoWrites) {
			for i := 3; i < 10; i++ {
				testkit.MustSend(t, s, testkit.Message(0, i, 10))
			}
			if discarded := s.Stats().Discarded; discarded != 7 {
				t.Errorf("%d messages were discarded; want 7", discarded)
			}
			wantNumbers(t, s, peer, 0, 8, 9)
			if discarded := srv.Stats().Discarded; discarded != 7 {
				t.Errorf("the server counts %d; want 7", discarded)
			}
		})
	}
}

func TestCloseSessionEndsTheSlowConsumer(t *testing.T) {
	end := func(srv *libnet.Server) { srv.OnFull = libnet.CloseSession }
	for _, p := range testkit.Protocols {
		stalled(t, p.Protocol, end, func(t *testing.T, s *libnet.Session, srv *libnet.Server, peer *testkit.TwoWrites) {
			if err := s.Send(testkit.Message(0, 3, 10)); err != libnet.ErrSlowConsumer {
				t.Errorf("Send on a full queue = %v", err)
			}
			<-s.Done()
			if s.Err() != libnet.ErrSlowConsumer || s.Stats().Discarded != 3 || srv.Stats().Closed["slow_consumer"] != 1 {
				t.Errorf("Err %v, discarded %d, closed %v", s.Err(), s.Stats().Discarded, srv.Stats().Closed)
			}
		})
	}
}

func TestTheQueueIsBoundedInBytesAsWell(t *testing.T) {
	bytes := func(srv *libnet.Server) { srv.SendQueue, srv.SendQueueBytes = 1000, 3500 }
	for _, p := range testkit.Protocols {
		stalled(t, p.Protocol, bytes, func(t *testing.T, s *libnet.Session, srv *libnet.Server, peer *testkit.TwoWrites) {
			if err := s.Send(testkit.Message(0, 3, 1000)); err != libnet.ErrSessionBlocked {
				t.Errorf("Send over the bound = %v", err)
			}
			testkit.MustSend(t, s, testkit.Message(0, 4, 100))
			wantNumbers(t, s, peer, 0, 1, 2, 4)
		})
	}
}

// A message that was refused must leave nothing behind that is written, even of no bytes: a conn that
// does not buffer would wait for its peer to take them.
func TestARefusedMessageLeavesNothingToWrite(t *testing.T) {
	for _, p := range testkit.Protocols {
		synctest.Test(t, func(t *testing.T) {
			srv := libnet.NewServer(libnettest.NewListener(), p.Protocol, 1000)
			srv.Logger = testkit.Quiet
			srv.SendQueueBytes = 100
			near, far := net.Pipe()
			s, err := srv.NewSession(near)
			if err != nil {
				t.Fatal(err)
			}
			testkit.MustSend(t, s, testkit.Message(0, 0, 60))
			synctest.Wait()
			if err := s.Send(testkit.Message(0, 1, 60)); err != libnet.ErrSessionBlocked {
				t.Errorf("Send = %v", err)
			}
			if _, err := (testkit.NewTwoWrites(far)).Receive(); err != nil {
				t.Error(err)
			}
			_ = far.SetReadDeadline(time.Now().Add(time.Minute))
			if n, err := far.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("Read = %d, %v; want nothing to come", n, err)
			}
			if s.IsClosed() {
				t.Errorf("the session ended with nothing to write: %v", s.Err())
			}
			_ = far.Close()
			srv.Stop()
		})
	}
}

func TestAMessageLargerThanTheQueueIsAcceptedByAnEmptyOne(t *testing.T) {
	testkit.OverProtocols(t, func(t *testing.T, p libnet.Protocol, connect testkit.Connector) {
		near, far := connect(t)
		srv := testkit.NewServer(t, p, 4)
		srv.SendQueueBytes = 100
		s := testkit.Adopt(t, srv, near)
		testkit.MustSend(t, s, testkit.Message(0, 0, 500_000))
		receiveAll(t, far, 1, 1)
	})
}

// What is larger than any frame may be must be refused, not waited or made room for.
func TestAMessageOverTheBoundIsRefusedWhateverThePolicy(t *testing.T) {
	for _, p := range testkit.Protocols {
		for _, policy := range []libnet.FullPolicy{libnet.RejectNewest, libnet.DropOldest, libnet.CloseSession} {
			for _, queue := range []int{0, 16} {
				t.Run(fmt.Sprint(p.Name, policy, queue), func(t *testing.T) {
					srv := testkit.NewServer(t, p.Protocol, queue)
					srv.OnFull = policy
					near, far := testkit.ConnectTCP(t)
					s := testkit.Adopt(t, srv, near)
					huge := make([]byte, 3<<20)
					testkit.Within(t, testkit.Patience, "sends of 3 MiB", func() {
						testkit.CheckErr(t, "Send", s.Send(huge), libnet.ErrFrameTooLarge)
						testkit.CheckErr(t, "SendContext", s.SendContext(context.Background(), huge), libnet.ErrFrameTooLarge)
					})
					testkit.MustSend(t, s, testkit.Message(0, 0, 10))
					receiveAll(t, far, 1, 1)
				})
			}
		}
	}
}

func TestDropOldestFreesWhatItDrops(t *testing.T) {
	for _, size := range []int{0, 1, 1000, 64 << 10} {
		for _, send := range []string{"Send", "Broadcast"} {
			t.Run(fmt.Sprint(size, send), func(t *testing.T) {
				srv := testkit.NewServer(t, testkit.Frames, 4)
				srv.OnFull = libnet.DropOldest
				_, near := libnettest.PipeSize(10)
				s := testkit.Adopt(t, srv, near)
				msg := make([]byte, size)
				before := heapInUse()
				for range max(2000, 50_000_000/max(size, 500)) {
					if send == "Send" {
						testkit.MustSend(t, s, &msg)
					} else if result := srv.Manager().Broadcast(&msg); result.Sent != 1 {
						t.Fatalf("%+v", result)
					}
				}
				if grown := (heapInUse() - before) >> 20; grown > 4 {
					t.Errorf("the heap grew by %d MiB; the queue holds %+v", grown, s.Stats())
				}
				runtime.KeepAlive(s)
			})
		}
	}
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// What is in flight cannot be taken back: it must not make DropOldest drop what is not, in vain.
func TestABroadcastUnderDropOldestIsQueuedAsASendIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := libnet.NewServer(libnettest.NewListener(), testkit.Frames, 100)
		srv.Logger = testkit.Quiet
		srv.OnFull, srv.SendQueueBytes = libnet.DropOldest, 1000
		near, far := libnettest.PipeSize(10)
		s, err := srv.NewSession(near)
		if err != nil {
			t.Fatal(err)
		}
		testkit.MustSend(t, s, make([]byte, 600))
		synctest.Wait()
		for range 5 {
			testkit.MustSend(t, s, make([]byte, 50))
		}
		if result := srv.Manager().Broadcast(make([]byte, 500)); result != (libnet.BroadcastResult{Sent: 1}) {
			t.Errorf("%+v", result)
		}
		if stats := s.Stats(); stats.Queued != 2 || stats.Discarded != 5 {
			t.Errorf("%+v", stats)
		}
		_ = s.Close()
		_ = far.Close()
		srv.Stop()
	})
}
