package libnet_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

func TestS6AFailedSynchronousSendClosesTheSession(t *testing.T) {
	for _, p := range testkit.Protocols {
		t.Run(p.Name, func(t *testing.T) {
			var faults libnettest.Faults
			broken := errors.New("the cable is cut")
			faults.Fail(libnettest.OpWrite, 2, libnettest.Fault{N: 3, Err: broken})
			near, _ := testkit.ConnectPipe(t)
			srv := testkit.NewServer(t, p.Protocol, 0)
			s := testkit.Adopt(t, srv, faults.Wrap(near))
			testkit.MustSend(t, s, []byte("first"))
			testkit.WantErr(t, "Send", s.Send([]byte("second")), broken)
			testkit.Await(t, time.Second, "Done", s.Done())
			testkit.WantErr(t, "Err", s.Err(), broken)
			testkit.WantErr(t, "a later Send", s.Send([]byte("third")), broken)
			if n := faults.Calls(libnettest.OpWrite); n != 2 {
				t.Errorf("%d writes; none may follow a torn frame", n)
			}
			if stats := s.Stats(); stats.Discarded != 0 || stats.MessagesOut != 1 || srv.Stats().Open != 0 {
				t.Errorf("stats: %+v", stats)
			}
		})
	}
}

func TestS8APeerThatStopsReadingIsGivenUp(t *testing.T) {
	for _, queue := range []int{0, 4} {
		t.Run(fmt.Sprint("queue ", queue), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := testkit.NewServer(t, testkit.Frames, queue)
				srv.WriteTimeout = 5 * time.Second
				near, _ := testkit.ConnectPipe(t)
				s := testkit.Adopt(t, srv, near)
				began := time.Now()
				var err error
				for err == nil {
					err = s.Send(make([]byte, 100_000))
				}
				if queue > 0 {
					if took := time.Since(began); err != libnet.ErrSessionBlocked || took != 0 {
						t.Errorf("Send on a full queue = %v after %v; want ErrSessionBlocked at once", err, took)
					}
					<-s.Done()
					err = s.Err()
				}
				// The write that the peer still took a part of may last the whole of WriteTimeout, too.
				took := time.Since(began)
				if err != libnet.ErrWriteTimeout || took < srv.WriteTimeout || took > 2*srv.WriteTimeout {
					t.Errorf("the session ended with %v after %v; want ErrWriteTimeout after %v", err, took, srv.WriteTimeout)
				}
				stats := s.Stats()
				if stats.Queued != 0 || stats.Discarded != uint64(queue) {
					t.Errorf("stats: %+v", stats)
				}
			})
		})
	}
}

// A queued Send must not wait, whatever the transport does.
func TestS8SendOnAQueuedSessionNeverBlocks(t *testing.T) {
	testkit.OverProtocols(t, func(t *testing.T, p libnet.Protocol, connect testkit.Connector) {
		near, _ := connect(t)
		s := testkit.Adopt(t, testkit.NewServer(t, p, 16), near)
		testkit.Within(t, testkit.Patience, "10,000 sends to a peer that does not read", func() {
			for range 10_000 {
				if err := s.Send(make([]byte, 1000)); err != nil && err != libnet.ErrSessionBlocked {
					t.Errorf("Send = %v", err)
					return
				}
			}
		})
	})
}
