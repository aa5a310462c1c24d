package libnet_test

import (
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

func TestIdleTimeoutHoldsWhileAHeartbeatWaits(t *testing.T) {
	for name, message := range map[string]func(release <-chan struct{}) func(*libnet.Session) any{
		"for its peer": func(<-chan struct{}) func(*libnet.Session) any {
			return func(*libnet.Session) any { return make([]byte, 1000) }
		},
		"for its user": func(release <-chan struct{}) func(*libnet.Session) any {
			return func(*libnet.Session) any { <-release; return nil }
		},
	} {
		for _, queue := range []int{0, 8} {
			t.Run(fmt.Sprint(name, ", queue ", queue), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					release := make(chan struct{})
					defer close(release)
					srv := testkit.NewServer(t, testkit.Frames, queue)
					srv.WriteTimeout = -1
					srv.IdleTimeout = 300 * time.Millisecond
					srv.Heartbeat = libnet.Heartbeat{Interval: 50 * time.Millisecond, Message: message(release)}
					_, near := libnettest.PipeSize(100)
					s := testkit.Adopt(t, srv, near)
					begun := time.Now()
					go s.Receive()
					wantEnd(t, s, libnet.ErrIdleTimeout)
					if took := time.Since(begun); took > 400*time.Millisecond {
						t.Errorf("ended after %v", took)
					}
				})
			})
		}
	}
}

func TestHeartbeatsThatWereHeldUpComeOnceAndNotInABurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls, running atomic.Int32
		srv := testkit.NewServer(t, testkit.Frames, 8)
		srv.Heartbeat = libnet.Heartbeat{Interval: time.Second, Message: func(*libnet.Session) any {
			if running.Add(1) > 1 {
				t.Error("two heartbeats of one session at a time")
			}
			defer running.Add(-1)
			if calls.Add(1) == 1 {
				time.Sleep(10*time.Second + time.Second/2)
			}
			return nil
		}}
		near, _ := libnettest.Pipe()
		s := testkit.Adopt(t, srv, near)
		time.Sleep(11*time.Second + 3*time.Second + time.Second/4)
		if n := calls.Load(); n < 3 || n > 4 {
			t.Errorf("%d heartbeats: one that took 10.5 s, and those of 2.75 s", n)
		}
		_ = s.Close()
	})
}

func TestAHeartbeatThatEndsItsGoroutineEndsItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := testkit.NewServer(t, testkit.Frames, 8)
		srv.Heartbeat = libnet.Heartbeat{Interval: time.Second, Message: func(*libnet.Session) any { runtime.Goexit(); return nil }}
		near, _ := libnettest.Pipe()
		wantEnd(t, testkit.Adopt(t, srv, near), libnet.ErrSessionClosed)
	})
}

func TestHandshakeTimeoutBoundsTheWholeOfALogin(t *testing.T) {
	admit := map[string]func(s *libnet.Session) error{
		"two messages, of which one came": func(s *libnet.Session) error {
			_, err := s.Receive()
			if err == nil {
				_, err = s.Receive()
			}
			return err
		},
		"one message, and a look that takes its time": func(s *libnet.Session) error {
			_, err := s.Receive()
			if err == nil {
				<-s.Done()
			}
			return err
		},
		"no message": func(s *libnet.Session) error { <-s.Done(); return nil },
	}
	for name, onSession := range admit {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := testkit.NewServer(t, testkit.Frames, 8)
				srv.HandshakeTimeout = 3 * time.Second
				made := make(chan *libnet.Session, 1)
				srv.OnSession = func(s *libnet.Session) error { made <- s; return onSession(s) }
				near, peer := libnettest.Pipe()
				go srv.ServeConn(near, libnet.HandlerFunc(func(*libnet.Session) {}))
				testkit.MustWrite(t, peer, testkit.Frame("user"))
				begun := time.Now()
				wantEnd(t, <-made, libnet.ErrHandshakeTimeout)
				if took := time.Since(begun); took != 3*time.Second {
					t.Errorf("ended after %v", took)
				}
			})
		})
	}
}

func TestHandshakeTimeoutLeavesASessionAloneOnceItIsAdmitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := testkit.NewServer(t, testkit.Frames, 8)
		srv.HandshakeTimeout = 3 * time.Second
		srv.OnSession = func(s *libnet.Session) error { _, err := s.Receive(); return err }
		near, peer := libnettest.Pipe()
		testkit.MustWrite(t, peer, testkit.Frame("user"))
		s := testkit.Adopt(t, srv, near)
		time.Sleep(time.Hour)
		if s.IsClosed() {
			t.Errorf("ended: %v", s.Err())
		}
		_ = s.Close()
	})
}

// twoPhases encodes within its session and tells when it begins to refuse a message.
type twoPhases struct {
	testkit.TwoWrites
	refuse func()
}

func (c *twoPhases) AppendFrame(dst []byte, msg any) ([]byte, error) {
	if string(msg.([]byte)) == "refused" {
		c.refuse()
		return dst, fmt.Errorf("%w: on purpose", libnet.ErrEncode)
	}
	return append(dst, testkit.Frame(string(msg.([]byte)))...), nil
}

func (c *twoPhases) ParseFrame(src []byte) ([]byte, int, error) { return nil, 0, nil }

// The end of a tick and a Send on a closed session once took the same two locks in different orders.
func TestCloseASendAndTheEndOfAHeartbeatDoNotWaitForEachOther(t *testing.T) {
	const while = 3 * time.Millisecond // for what was begun to wait for its lock
	hold, held := make(chan struct{}), make(chan struct{}, 2)
	beating, beat := make(chan struct{}), make(chan struct{})
	var once sync.Once
	srv := testkit.NewServer(t, libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		return &twoPhases{*testkit.NewTwoWrites(rw), func() { held <- struct{}{}; <-hold }}
	}), 10)
	srv.HandshakeTimeout = time.Hour
	srv.Heartbeat = libnet.Heartbeat{Interval: time.Millisecond, Message: func(*libnet.Session) any {
		once.Do(func() { close(beating); <-beat })
		return nil
	}}
	_, near := libnettest.Pipe()
	s := testkit.Adopt(t, srv, near)
	if s.Codec() == nil {
		t.Fatal(s.Err())
	}
	<-beating
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = s.Send([]byte("refused"))
		_ = s.Send([]byte("refused"))
	})
	<-held
	wg.Go(func() { _ = s.Close() })
	time.Sleep(while)
	wg.Go(func() { _ = s.Send([]byte("x")) })
	time.Sleep(while)
	close(beat)
	time.Sleep(while)
	close(hold)
	testkit.Within(t, testkit.Patience, "Close and Send", wg.Wait)
}

// The runtime takes stopped timers out of its lists at leisure: as long as that lasts they must hold no session.
func TestAClosedSessionIsNotKeptByItsTimer(t *testing.T) {
	srv := testkit.NewServer(t, testkit.Frames, 8)
	srv.IdleTimeout = time.Hour
	for range 100 { // the runtime looks for stopped timers once they are many among those that run
		near, _ := libnettest.Pipe()
		testkit.Adopt(t, srv, near)
	}
	was := closedSession(t, srv)
	for range 3 { // without a pause, in which the runtime would find the time
		runtime.GC()
	}
	if was.Value() != nil {
		t.Error("a closed session is still reachable")
	}
}

func closedSession(t *testing.T, srv *libnet.Server) weak.Pointer[libnet.Session] {
	near, _ := libnettest.Pipe()
	s, err := srv.NewSession(near)
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	return weak.Make(s)
}
