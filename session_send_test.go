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

func TestSendContextOnASynchronousSessionEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := libnet.NewServer(libnettest.NewListener(), testkit.Frames, 0)
		srv.Logger, srv.WriteTimeout = testkit.Quiet, -1
		near, far := libnettest.PipeSize(10)
		s, err := srv.NewSession(near)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		written, waiting := make(chan error, 1), make(chan error, 1)
		go func() { written <- s.SendContext(ctx, make([]byte, 100)) }() // some of it leaves
		synctest.Wait()
		go func() { waiting <- s.SendContext(ctx, []byte("waits")) }() // nothing of it does
		if err := <-written; err != context.DeadlineExceeded {
			t.Errorf("SendContext that was writing: %v", err)
		}
		if err := <-waiting; err != context.DeadlineExceeded {
			t.Errorf("SendContext that waited: %v", err)
		}
		peer := testkit.NewTwoWrites(far)
		if msg, err := peer.Receive(); err != nil || len(msg) != 100 {
			t.Errorf("the message of which a part was written: %d bytes, %v", len(msg), err)
		}
		testkit.MustSend(t, s, []byte("next"))
		if msg, err := peer.Receive(); err != nil || string(msg) != "next" {
			t.Errorf("behind it: %q, %v", msg, err)
		}
		if stats := s.Stats(); stats.MessagesOut != 2 || stats.Discarded != 0 || stats.Queued != 0 {
			t.Errorf("%+v", stats)
		}
		_ = far.Close()
		srv.Stop()
	})
}

func TestSendContextWaitsForRoomWhateverThePolicy(t *testing.T) {
	for _, policy := range []libnet.FullPolicy{libnet.RejectNewest, libnet.DropOldest, libnet.CloseSession} {
		set := func(srv *libnet.Server) { srv.OnFull, srv.WriteTimeout = policy, time.Hour }
		stalled(t, testkit.Frames, set, func(t *testing.T, s *libnet.Session, srv *libnet.Server, peer *testkit.TwoWrites) {
			sent := make(chan error)
			go func() {
				for i := 3; i < 8; i++ {
					if err := s.SendContext(t.Context(), testkit.Message(0, i, 10)); err != nil {
						sent <- err
						return
					}
				}
				close(sent)
			}()
			time.Sleep(time.Minute)
			if queued := s.Stats().Queued; queued != 3 {
				t.Errorf("%d messages are queued; want 3", queued)
			}
			wantNumbers(t, s, peer, 0, 1, 2, 3, 4, 5, 6, 7)
			if err := <-sent; err != nil {
				t.Errorf("SendContext = %v", err)
			}
			if stats := srv.Stats(); stats.Discarded != 0 || stats.Blocked != 0 {
				t.Errorf("stats: %+v", stats)
			}
		})
	}
}

func TestSendContextEndsWithItsContextOrTheSession(t *testing.T) {
	set := func(srv *libnet.Server) { srv.WriteTimeout = time.Hour }
	stalled(t, testkit.Frames, set, func(t *testing.T, s *libnet.Session, srv *libnet.Server, peer *testkit.TwoWrites) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		began := time.Now()
		if err := s.SendContext(ctx, testkit.Message(0, 3, 10)); err != context.DeadlineExceeded || time.Since(began) != time.Minute {
			t.Errorf("SendContext = %v after %v", err, time.Since(began))
		}
		if err := s.SendContext(ctx, testkit.Message(0, 3, 10)); err != context.DeadlineExceeded {
			t.Errorf("SendContext with a context that has ended = %v", err)
		}
		if stats := s.Stats(); stats.Queued != 3 {
			t.Errorf("a message that was not sent is queued: %+v", stats)
		}
		cause := errors.New("kicked")
		time.AfterFunc(time.Minute, func() { _ = s.CloseWithError(cause) })
		if err := s.SendContext(context.Background(), testkit.Message(0, 3, 10)); err != cause {
			t.Errorf("SendContext on a session that is closed meanwhile = %v", err)
		}
		<-s.Done()
		if stats := s.Stats(); stats.Discarded != 3 {
			t.Errorf("discarded %d; want 3", stats.Discarded)
		}
	})
}

// The handler that waits for room is itself the receiver that would otherwise flush.
func TestSendContextFromTheHandlerDoesNotWaitForTheHandler(t *testing.T) {
	const messages = 200
	testkit.OverProtocols(t, func(t *testing.T, p libnet.Protocol, connect testkit.Connector) {
		near, far := connect(t)
		s := testkit.Adopt(t, testkit.NewServer(t, p, 2), near)
		handled := make(chan error, 1)
		go func() {
			_, err := s.Receive()
			for i := 0; i < messages && err == nil; i++ {
				err = s.SendContext(context.Background(), testkit.Message(0, i, 10))
			}
			handled <- err
		}()
		mustPeerSend(t, testkit.NewTwoWrites(far), "begin")
		receiveAll(t, far, 1, messages)
		if err := testkit.Await(t, testkit.Patience, "the handler", handled); err != nil {
			t.Error(err)
		}
	})
}

// Who waits for room for a large message gets it, though small ones that would fit come all the time.
func TestSendContextIsNotPassedOverForEver(t *testing.T) {
	srv := testkit.NewServer(t, testkit.Frames, 100_000)
	srv.SendQueueBytes = 1_000_000
	near, far := libnettest.PipeSize(40_000)
	s := testkit.Adopt(t, srv, near)
	var read atomic.Int64
	go func() { // reads steadily
		buf := make([]byte, 40_000)
		for {
			n, err := far.Read(buf)
			read.Add(int64(n))
			if err != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	stop := make(chan struct{})
	defer close(stop)
	var accepted atomic.Int64
	go func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if s.Send(make([]byte, 1000)) == nil {
				accepted.Add(1)
			} else {
				time.Sleep(20 * time.Microsecond)
			}
		}
	}()
	testkit.Eventually(t, "a full queue", func() bool { return s.Stats().QueuedBytes > 990_000 })
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	before, readBefore := accepted.Load(), read.Load()
	if err := s.SendContext(ctx, make([]byte, 400_000)); err != nil {
		t.Errorf("SendContext: %v; meanwhile %d other messages were accepted and the peer read %d bytes", err, accepted.Load()-before, read.Load()-readBefore)
	}
}

// docs/sendside.md: "SendContext in the line waits for room, and is woken by whoever makes room".
func TestADropThatMakesRoomIsToldToWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := testkit.NewServer(t, codec.New(codec.Uint16BE, codec.Bytes), 100)
		srv.SendQueueBytes, srv.OnFull, srv.WriteTimeout = 1000, libnet.DropOldest, -1
		near, far := net.Pipe()
		defer far.Close()
		s := testkit.Adopt(t, srv, near)
		testkit.MustSend(t, s, make([]byte, 10)) // in flight
		synctest.Wait()
		testkit.MustSend(t, s, make([]byte, 900))
		sent := make(chan error, 1)
		go func() { sent <- s.SendContext(context.Background(), make([]byte, 500)) }()
		synctest.Wait()
		testkit.MustSend(t, s, make([]byte, 200)) // drops the 900 bytes
		time.Sleep(time.Minute)
		synctest.Wait()
		stats := s.Stats()
		select {
		case err := <-sent:
			t.Log("SendContext returned", err)
		default:
			t.Errorf("a message of 502 bytes waits for room in a queue of 1000 that holds %d bytes in %d messages", stats.QueuedBytes, stats.Queued)
		}
		_ = s.Close()
	})
}

func TestSendContextNoticesRoomMadeAtAnyMoment(t *testing.T) {
	near, far := libnettest.PipeSize(64)
	s := testkit.Adopt(t, testkit.NewServer(t, testkit.Frames, 2), near)
	go testkit.Drain(far)
	const senders, messages = 8, 2000
	var sending sync.WaitGroup
	for range senders {
		sending.Go(func() {
			for range messages {
				if err := s.SendContext(context.Background(), []byte("message")); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	testkit.Within(t, 10*testkit.Patience, "all senders", sending.Wait)
	testkit.Eventually(t, "all written", func() bool { return s.Stats().MessagesOut == senders*messages })
}

// Who waits is served in the order of coming: none is passed over, however many there are.
func TestSendersThatWaitAreServedInTheirOrder(t *testing.T) {
	set := func(srv *libnet.Server) { srv.WriteTimeout = time.Hour }
	for _, p := range testkit.Protocols {
		stalled(t, p.Protocol, set, func(t *testing.T, s *libnet.Session, srv *libnet.Server, peer *testkit.TwoWrites) {
			const waiting = 100
			for i := range waiting {
				go func() {
					if err := s.SendContext(context.Background(), testkit.Message(0, 3+i, 10)); err != nil {
						t.Error(err)
					}
				}()
				synctest.Wait()
			}
			want := make([]int, 3+waiting)
			for i := range want {
				want[i] = i
			}
			wantNumbers(t, s, peer, want...)
		})
	}
}

func TestASendContextThatGivesUpLetsThoseBehindItThrough(t *testing.T) {
	set := func(srv *libnet.Server) { srv.WriteTimeout, srv.SendQueueBytes = time.Hour, 3100 }
	stalled(t, testkit.Frames, set, func(t *testing.T, s *libnet.Session, srv *libnet.Server, peer *testkit.TwoWrites) {
		ctx, cancel := context.WithCancel(context.Background())
		large, small := make(chan error, 1), make(chan error, 1)
		go func() { large <- s.SendContext(ctx, testkit.Message(0, 3, 3000)) }()
		synctest.Wait()
		go func() { small <- s.SendContext(context.Background(), testkit.Message(0, 4, 10)) }()
		synctest.Wait()
		cancel()
		if err := <-large; err != context.Canceled {
			t.Errorf("SendContext: %v", err)
		}
		wantNumbers(t, s, peer, 0, 1, 2, 4)
		if err := <-small; err != nil {
			t.Errorf("SendContext behind it: %v", err)
		}
	})
}

func TestASessionWhoseOutputFailedEndsThoughNobodyReceives(t *testing.T) {
	for _, network := range []string{"tcp", "unix", "tls", "pipe"} {
		t.Run(network, func(t *testing.T) {
			srv, dial := listenOn(t, network, 8, func(srv *libnet.Server) { srv.Linger = 300 * time.Millisecond })
			made := make(chan *libnet.Session, 1)
			go srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
				_ = s.Send([]byte("hello"))
				made <- s
				<-s.Done()
			}))
			conn := dial()
			testkit.MustWrite(t, conn, testkit.Frame("nobody receives this"))
			s := <-made
			_ = conn.Close()
			var err error
			testkit.Eventually(t, "an error of Send", func() bool { err = s.Send([]byte("x")); return err != nil })
			testkit.Await(t, testkit.Patience, "the end", s.Done())
			if s.Err() != err || errors.Is(err, libnet.ErrSessionClosed) {
				t.Errorf("Send = %v, and the session ended with %v", err, s.Err())
			}
		})
	}
}

// A session is closing before its queue refuses: who is refused learns why, whatever fails at the time.
func TestSendHasTheReasonOfAnEndThatNobodyAskedFor(t *testing.T) {
	for _, queue := range []int{0, 4} {
		for range 60 {
			near, far := libnettest.Pipe()
			s := testkit.Adopt(t, testkit.NewServer(t, testkit.Frames, queue), near)
			refused := make(chan error, 4)
			for range cap(refused) {
				go func() {
					for {
						if err := s.Send(make([]byte, 100)); err != nil && err != libnet.ErrSessionBlocked {
							refused <- err
							return
						}
					}
				}()
			}
			go io.Copy(io.Discard, far)
			_ = far.(*libnettest.PipeConn).Reset()
			for range cap(refused) {
				if err := <-refused; errors.Is(err, net.ErrClosed) {
					t.Fatalf("Send = %v, and nobody has closed the session, which ended with %v", err, s.Err())
				}
			}
		}
	}
}
