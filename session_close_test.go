package libnet_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
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

// Of a conn that is closed beneath its session, a write may learn first. Nothing that follows, as that Linger is over,
// makes an end of the peer's of it: that would say that all had been received.
func TestAConnClosedBeneathItsSessionIsNoEndOfThePeer(t *testing.T) {
	for name, receives := range map[string]bool{"the receiver is at work": true, "nobody receives": false} {
		t.Run(name, func(t *testing.T) {
			testkit.OverTransports(t, func(t *testing.T, connect testkit.Connector) {
				srv := testkit.NewServer(t, testkit.Frames, 0)
				srv.Linger = 20 * time.Millisecond
				near, far := connect(t)
				s := testkit.Adopt(t, srv, near)
				go io.Copy(io.Discard, far)
				testkit.MustSend(t, s, []byte("the handshake, where there is one, is over"))
				if receives {
					go func() { _, _ = far.Write([]byte{0, 0, 0, 1, 'x'}) }()
					if _, err := s.Receive(); err != nil {
						t.Fatal(err)
					}
				}
				_ = near.Close()
				refused := s.Send([]byte("x"))
				if refused == nil || refused == io.EOF {
					t.Fatalf("Send = %v", refused)
				}
				testkit.Await(t, testkit.Patience, "Done", s.Done())
				testkit.WantErr(t, "Err", s.Err(), refused)
				_, err := s.Receive()
				testkit.WantErr(t, "Receive", err, refused)
			})
		})
	}
}

// tardyConn has its reader see a reset as no more than an end, because its writer has been told, who keeps that to
// himself until then.
type tardyConn struct {
	*net.TCPConn
	told, seen chan struct{}
}

func (c *tardyConn) Write(p []byte) (_ int, err error) {
	for err == nil {
		_, err = c.TCPConn.Write(p)
	}
	close(c.told)
	<-c.seen
	time.Sleep(20 * time.Millisecond)
	return 0, err
}

func (c *tardyConn) Read(p []byte) (int, error) {
	<-c.told
	n, err := c.TCPConn.Read(p)
	close(c.seen)
	return n, err
}

func TestAResetThatAWriteHasLearnedOfIsNoEndInGoodOrder(t *testing.T) {
	near, far := testkit.ConnectTCP(t)
	tardy := &tardyConn{near.(*net.TCPConn), make(chan struct{}), make(chan struct{})}
	s := testkit.Adopt(t, testkit.NewServer(t, testkit.Frames, 8), tardy)
	testkit.MustSend(t, s, []byte("hello"))
	_ = far.(*net.TCPConn).SetLinger(0)
	_ = far.Close()
	if _, err := s.Receive(); err == io.EOF || err == nil {
		t.Errorf("Receive = %v", err)
	}
	testkit.Await(t, testkit.Patience, "Done", s.Done())
	if err := s.Err(); err == io.EOF {
		t.Errorf("Err = %v", err)
	}
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

// minedError panics whatever it is asked.
type minedError struct{ text *string }

func (e *minedError) Error() string   { return *e.text }
func (e *minedError) Is(error) bool   { return *e.text == "" }
func (e *minedError) As(any) bool     { return *e.text == "" }
func (e *minedError) Unwrap() []error { return []error{errors.New(*e.text)} }

func TestAReasonWhoseMethodsPanicIsCountedLikeAnyOther(t *testing.T) {
	for name, reason := range map[string]error{"its methods": new(minedError), "a typed nil": (*minedError)(nil)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := testkit.NewServer(t, testkit.Frames, 8)
				logs := &testkit.Log{}
				srv.Logger = slog.New(logs)
				near, far := libnettest.Pipe()
				defer far.Close()
				s := testkit.Adopt(t, srv, near)
				_ = s.CloseWithError(reason)
				if s.Err() != reason {
					t.Errorf("the reason: %T", s.Err())
				}
				if stats := srv.Stats(); stats.Open != 0 || stats.Closed["error"] != 1 {
					t.Errorf("%+v", stats)
				}
				if lines := logs.With("libnet: session ended"); len(lines) != 1 {
					t.Errorf("log: %q", lines)
				}
			})
		})
	}
}

func TestACloseCallbackThatEndsItsGoroutineKeepsNoneFromRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := testkit.NewServer(t, testkit.Frames, 8)
		near, far := libnettest.Pipe()
		defer far.Close()
		s := testkit.Adopt(t, srv, near)
		var ran []int
		for i := range 6 {
			s.OnClose(func() {
				ran = append(ran, i)
				if i%2 == 0 {
					runtime.Goexit()
				}
			})
		}
		go s.Close()
		synctest.Wait()
		if len(ran) != 6 || ran[0] != 0 || ran[5] != 5 {
			t.Errorf("ran %v", ran)
		}
		if stats := srv.Stats(); stats.Open != 0 || stats.Closed["closed"] != 1 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestCallbacksTakenBackAnywhereLeaveTheOthersInOrder(t *testing.T) {
	for back := range 1 << 4 {
		s := idleSession()
		var ran []int
		stops := make([]func() bool, 4)
		for i := range stops {
			stops[i] = s.OnClose(func() { ran = append(ran, i) })
		}
		left := 0
		for i, stop := range stops {
			if back>>i&1 == 0 {
				left++
				continue
			}
			if !stop() || stop() {
				t.Fatalf("%04b: stop must report true once", back)
			}
		}
		_ = s.Close()
		for i, n := range ran {
			if back>>n&1 != 0 || i > 0 && ran[i-1] > n {
				t.Errorf("%04b: ran %v", back, ran)
			}
		}
		if len(ran) != left || stops[0]() {
			t.Errorf("%04b: ran %v, and stop says true after that", back, ran)
		}
	}
}
