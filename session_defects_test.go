package libnet_test

import (
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

func TestS1FiftyQueuedMessagesAndCloseAtOnceAreAllAccountedFor(t *testing.T) {
	testkit.OverTransports(t, func(t *testing.T, connect testkit.Connector) {
		near, far := connect(t)
		s := testkit.Adopt(t, testkit.NewServer(t, testkit.Frames, 50), near)
		for i := range 50 {
			testkit.MustSend(t, s, testkit.Message(0, i, 100))
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		testkit.Await(t, time.Second, "Done", s.Done())
		stats := s.Stats()
		if stats.MessagesOut+stats.Discarded != 50 || stats.Queued != 0 {
			t.Errorf("50 messages were accepted; stats: %+v", stats)
		}
		delivered := uint64(0)
		for peer := (testkit.NewTwoWrites(far)); ; delivered++ {
			if _, err := peer.Receive(); err != nil {
				break
			}
		}
		if delivered != stats.MessagesOut {
			t.Errorf("the peer got %d messages; MessagesOut is %d", delivered, stats.MessagesOut)
		}
	})
}

func TestS3NothingIsWrittenAfterCloseReturned(t *testing.T) {
	var calls libnettest.Faults
	near, _ := testkit.ConnectPipe(t)
	s := testkit.Adopt(t, testkit.NewServer(t, testkit.Frames, 1000), calls.Wrap(near))
	for i := range 1000 {
		testkit.MustSend(t, s, testkit.Message(0, i, 10))
	}
	_ = s.Close()
	writes := calls.Calls(libnettest.OpWrite)
	testkit.WantErr(t, "Send after Close", s.Send([]byte("late")), libnet.ErrSessionClosed)
	time.Sleep(5 * time.Millisecond) // long enough for a flush that Close forgot
	if now := calls.Calls(libnettest.OpWrite); now != writes {
		t.Errorf("%d writes began before Close returned, %d after", writes, now-writes)
	}
}

func TestS5ConcurrentReceiversGetEveryMessageOnceAndWhole(t *testing.T) {
	const messages = 400
	testkit.OverProtocols(t, func(t *testing.T, p libnet.Protocol, connect testkit.Connector) {
		a, b := testkit.SessionPair(t, connect, p, messages)
		var mu sync.Mutex
		seen := make(map[int]int)
		var receivers sync.WaitGroup
		for range 4 {
			receivers.Go(func() {
				for {
					msg, err := b.Receive()
					if err != nil {
						return
					}
					_, number := testkit.ParseMessage(t, msg)
					mu.Lock()
					seen[number]++
					mu.Unlock()
				}
			})
		}
		for i := range messages {
			testkit.MustSend(t, a, testkit.Message(0, i, i%300))
		}
		if err := a.Shutdown(testkit.TimeoutContext(t, testkit.Patience)); err != nil {
			t.Errorf("Shutdown = %v", err)
		}
		receivers.Wait()
		for i := range messages {
			if seen[i] != 1 {
				t.Fatalf("message %d was received %d times", i, seen[i])
			}
		}
	})
}

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

func TestS7TheReasonOfTheEndIsTheSameEverywhere(t *testing.T) {
	cause := errors.New("kicked")
	for _, test := range []struct {
		name   string
		end    func(s *libnet.Session, srv *libnet.Server, far net.Conn)
		reason error
		closed string
	}{
		{"Close", func(s *libnet.Session, _ *libnet.Server, _ net.Conn) { _ = s.Close() }, libnet.ErrSessionClosed, "closed"},
		{"CloseWithError", func(s *libnet.Session, _ *libnet.Server, _ net.Conn) { _ = s.CloseWithError(cause) }, cause, "error"},
		{"CloseWithError(nil)", func(s *libnet.Session, _ *libnet.Server, _ net.Conn) { _ = s.CloseWithError(nil) }, libnet.ErrSessionClosed, "closed"},
		{"Stop", func(_ *libnet.Session, srv *libnet.Server, _ net.Conn) { srv.Stop() }, libnet.ErrServerClosed, "server_closed"},
		{"the peer's end", func(_ *libnet.Session, _ *libnet.Server, far net.Conn) { _ = far.Close() }, io.EOF, "eof"},
		{"malformed", func(_ *libnet.Session, _ *libnet.Server, far net.Conn) {
			go func() { _, _ = far.Write([]byte{0xff, 0xff, 0xff, 0xff}) }()
		}, libnet.ErrFrameTooLarge, "frame_too_large"},
	} {
		t.Run(test.name, func(t *testing.T) {
			testkit.OverTransports(t, func(t *testing.T, connect testkit.Connector) {
				srv := testkit.NewServer(t, testkit.Frames, 0)
				near, far := connect(t)
				s := testkit.Adopt(t, srv, near)
				if s.Err() != nil {
					t.Errorf("Err of an open session = %v", s.Err())
				}
				received := make(chan error, 1)
				go func() {
					_, err := s.Receive()
					received <- err
				}()
				time.Sleep(time.Millisecond) // let it wait: it must be woken
				test.end(s, srv, far)
				testkit.WantErr(t, "Receive", testkit.Await(t, testkit.Patience, "Receive", received), test.reason)
				testkit.Await(t, testkit.Patience, "Done", s.Done())
				testkit.WantErr(t, "Err", s.Err(), test.reason)
				testkit.WantErr(t, "Send", s.Send([]byte("x")), test.reason)
				testkit.Eventually(t, "the count of closed sessions", func() bool { return srv.Stats().Open == 0 })
				if closed := srv.Stats().Closed; len(closed) != 1 || closed[test.closed] != 1 {
					t.Errorf("closed: %v; want one %s", closed, test.closed)
				}
				if err := s.Close(); err != libnet.ErrSessionClosed || !errors.Is(err, net.ErrClosed) {
					t.Errorf("a later Close = %v", err)
				}
			})
		})
	}
}

func TestS7ClosingASessionThatIsEndingDoesNotChangeItsReason(t *testing.T) {
	near, far := testkit.ConnectPipe(t)
	srv := testkit.NewServer(t, testkit.Frames, 8)
	s := testkit.Adopt(t, srv, near)
	far.(*libnettest.PipeConn).Unplug()
	testkit.MustSend(t, s, make([]byte, 500_000)) // more than the pipe holds, so that it stays queued
	_ = far.(*libnettest.PipeConn).CloseWrite()
	far.(*libnettest.PipeConn).Plug()
	if _, err := s.Receive(); err != io.EOF {
		t.Fatalf("Receive = %v", err)
	}
	if err := s.Err(); err != io.EOF {
		t.Errorf("Err after Receive returned io.EOF = %v", err)
	}
	_ = s.Close()
	if err := s.Err(); err != io.EOF || srv.Stats().Closed["eof"] != 1 {
		t.Errorf("Err after Close = %v, closed %v", err, srv.Stats().Closed)
	}
	if stats := s.Stats(); stats.Discarded != 1 {
		t.Errorf("discarded %d messages; want the one that was queued", stats.Discarded)
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

func TestS9ACallbackRegisteredWhileClosingStillRuns(t *testing.T) {
	near, _ := testkit.ConnectPipe(t)
	srv := testkit.NewServer(t, testkit.Frames, 0)
	_ = testkit.Adopt(t, srv, near)
	for range 2000 {
		s := libnet.NewSession(&testkit.FuncCodec{}, 0)
		const callbacks = 4
		var ran atomic.Int32
		var start, registered sync.WaitGroup
		start.Add(1)
		for range callbacks {
			registered.Go(func() {
				start.Wait()
				s.OnClose(func() { ran.Add(1) })
			})
		}
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			start.Wait()
			_ = s.Close()
		}()
		start.Done()
		registered.Wait()
		<-closed
		if n := ran.Load(); n != callbacks {
			t.Fatalf("%d of %d callbacks ran", n, callbacks)
		}
	}
}

func TestS9ACallbackTakenBackDoesNotRun(t *testing.T) {
	s := libnet.NewSession(&testkit.FuncCodec{}, 0)
	var ran []int
	stop := s.OnClose(func() { ran = append(ran, 1) })
	s.OnClose(func() { ran = append(ran, 2) })
	s.OnClose(func() { ran = append(ran, 3) })
	if !stop() || stop() {
		t.Error("stop must report true once")
	}
	_ = s.Close()
	s.OnClose(func() { ran = append(ran, 4) })
	if fmt.Sprint(ran) != "[2 3 4]" {
		t.Errorf("callbacks ran: %v; want 2, 3, and 4 at once", ran)
	}
	if s.OnClose(func() {})() {
		t.Error("stop of a callback that has run reported true")
	}
}

func TestS14ACallbackThatPanicsDoesNotKeepTheOthersFromRunning(t *testing.T) {
	srv := testkit.NewServer(t, testkit.Frames, 0)
	near, _ := testkit.ConnectPipe(t)
	s := testkit.Adopt(t, srv, near)
	var ran []int
	var group libnet.Group[string]
	group.Put("a", s)
	s.OnClose(func() { ran = append(ran, group.Len()) })
	s.OnClose(func() { panic("a callback's own business") })
	s.OnClose(func() { ran = append(ran, srv.Manager().Len()) })
	if err := s.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	if len(ran) != 2 || ran[0] != 0 || ran[1] != 0 {
		t.Errorf("the callbacks saw %v members; want 0 and 0", ran)
	}
	if stats := srv.Stats(); stats.Panics != 1 || stats.Open != 0 || stats.Closed["closed"] != 1 {
		t.Errorf("stats: %+v", stats)
	}
}

// From 16 KiB on, a synchronous Send writes the payload from where the caller has it.
func TestALargeMessageArrivesWholeAndOnce(t *testing.T) {
	for _, size := range []int{16<<10 - 1, 16 << 10, 100_000, 1 << 20} {
		testkit.OverTransports(t, func(t *testing.T, connect testkit.Connector) {
			a, b := testkit.SessionPair(t, connect, codec.New(codec.Uint32BE, codec.Bytes), 0)
			msg := testkit.Message(3, 4, size-8)
			sent := make(chan error, 1)
			go func() { sent <- a.Send(&msg) }()
			got, err := b.Receive()
			if err != nil || len(got) != size {
				t.Fatalf("received %d bytes, %v; want %d", len(got), err, size)
			}
			testkit.ParseMessage(t, got)
			if err := <-sent; err != nil || a.Stats().MessagesOut != 1 {
				t.Errorf("Send = %v, MessagesOut = %d", err, a.Stats().MessagesOut)
			}
		})
	}
}
