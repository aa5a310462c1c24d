package libnet_test

import (
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

func TestS1S2WhatSendAcceptedIsDeliveredOrCountedWhenCloseRaces(t *testing.T) {
	for _, test := range []struct {
		name              string
		queue, queueBytes int
		policy            libnet.FullPolicy
	}{
		{"queued", 64, 0, libnet.RejectNewest},
		{"few bytes", 64, 200, libnet.RejectNewest},
		{"drop oldest", 8, 0, libnet.DropOldest},
		{"synchronous", 0, 0, libnet.RejectNewest},
	} {
		for _, p := range testkit.Protocols {
			t.Run(test.name+", "+p.Name, func(t *testing.T) {
				testkit.OverTransports(t, func(t *testing.T, connect testkit.Connector) {
					for round := range 12 {
						srv := testkit.NewServer(t, p.Protocol, test.queue)
						srv.SendQueueBytes = test.queueBytes
						srv.OnFull = test.policy
						near, far := connect(t)
						closeUnderSenders(t, srv.Manager(), testkit.Adopt(t, srv, near), far, time.Duration(round)*50*time.Microsecond)
					}
				})
			})
		}
	}
}

func TestS1S2TheSameHoldsForSessionsOfABareCodec(t *testing.T) {
	for _, queue := range []int{0, 64} {
		t.Run(fmt.Sprint("queue ", queue), func(t *testing.T) {
			testkit.OverTransports(t, func(t *testing.T, connect testkit.Connector) {
				for round := range 12 {
					near, far := connect(t)
					m := libnet.NewManager()
					s := m.NewSession(testkit.NewTwoWrites(near), queue)
					closeUnderSenders(t, m, s, far, time.Duration(round)*50*time.Microsecond)
				}
			})
		})
	}
}

// closeUnderSenders closes s while three goroutines send and one broadcasts, and settles the account.
func closeUnderSenders(t *testing.T, m *libnet.Manager, s *libnet.Session, far net.Conn, after time.Duration) {
	t.Helper()
	var accepted atomic.Uint64
	var senders sync.WaitGroup
	senders.Go(func() {
		for i := 0; !s.IsClosed(); i++ {
			accepted.Add(uint64(m.Broadcast(testkit.Message(9, i, i%40)).Sent))
			runtime.Gosched()
		}
	})
	for sender := range 3 {
		senders.Go(func() {
			for i := 0; ; i++ {
				switch err := s.Send(testkit.Message(sender, i, i%40)); {
				case err == nil:
					accepted.Add(1)
				case err == libnet.ErrSessionBlocked:
					runtime.Gosched()
				default:
					return
				}
			}
		})
	}
	received := make(chan uint64, 1)
	go func() {
		peer := testkit.NewTwoWrites(far)
		var n uint64
		for {
			if _, err := peer.Receive(); err != nil {
				received <- n
				return
			}
			n++
		}
	}()
	time.Sleep(after)
	_ = s.Close()
	atClose := s.Stats() // final, but for a bare codec's Send that returns only now
	senders.Wait()
	_ = far.SetReadDeadline(time.Now().Add(testkit.Patience))
	delivered := testkit.Await(t, testkit.Patience, "the peer's end", received)
	stats := s.Stats()
	if accepted.Load() != delivered+stats.Discarded || stats.MessagesOut != delivered || stats.Queued != 0 || stats.QueuedBytes != 0 {
		t.Fatalf("Send accepted %d, the peer got %d; stats: %+v", accepted.Load(), delivered, stats)
	}
	if atClose.MessagesOut != stats.MessagesOut && s.LocalAddr() != nil {
		t.Fatalf("%d messages were written when Close returned, %d later", atClose.MessagesOut, stats.MessagesOut)
	}
}
