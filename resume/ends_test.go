package resume_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/reconnect"
	"github.com/libnet-go/libnet/resume"
)

// A rig is a server and a network in memory, for bubbles.
type rig struct {
	t        testing.TB
	server   *resume.Server
	libnet   *libnet.Server
	pipes    *libnettest.Listener
	sessions chan *resume.Session // of the server, in order
	down     atomic.Bool          // dials fail
}

// newRig has the server's sessions wait for the test, which receives and sends on them.
func newRig(t testing.TB, set func(*resume.Server)) *rig {
	r := &rig{t: t, server: new(resume.Server), pipes: libnettest.NewListener(), sessions: make(chan *resume.Session, 1000)}
	if set != nil {
		set(r.server)
	}
	if r.server.MessageHandler == nil {
		r.server.Handler = func(s *resume.Session) {
			r.sessions <- s
			<-s.Done()
		}
	}
	r.libnet = libnet.NewServer(r.pipes, protocol, 0)
	configure(&r.libnet.Config)
	go func() { _ = r.libnet.Serve(r.server) }()
	t.Cleanup(func() {
		r.server.Close()
		r.libnet.Stop()
	})
	return r
}

var errDown = errors.New("the network is down")

// dial makes a connection's session.
func (r *rig) dial(context.Context) (*libnet.Session, error) {
	if r.down.Load() {
		return nil, errDown
	}
	conn, err := r.pipes.Dial()
	if err != nil {
		return nil, err
	}
	return dialer().NewSession(conn)
}

// start starts a client's session, and returns both ends.
func (r *rig) start(c *resume.Client) (near, far *resume.Session) {
	near = c.Start(r.over())
	r.t.Cleanup(func() { _ = near.Close() })
	far = testkit.Await(r.t, testkit.Patience, "a session of the server", r.sessions)
	synctest.Wait() // the welcome has arrived
	return near, far
}

func (r *rig) over() *reconnect.Client {
	return &reconnect.Client{Dial: r.dial, MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond, Logger: testkit.Quiet}
}

// cut ends a session's connection as a network does, and keeps the client from coming back until up.
func (r *rig) cut(near *resume.Session) {
	r.down.Store(true)
	if conn := near.Conn(); conn != nil {
		_ = conn.Close()
	}
	synctest.Wait()
}

func (r *rig) up() { r.down.Store(false) }

func send(t testing.TB, s *resume.Session, msgs ...string) {
	t.Helper()
	for _, msg := range msgs {
		if err := s.Send(msg); err != nil {
			t.Fatal(err)
		}
	}
}

func receive(t testing.TB, s *resume.Session, msgs ...string) {
	t.Helper()
	for _, want := range msgs {
		if msg, err := s.Receive(); string(msg) != want || err != nil {
			t.Fatalf("received %q, %v; want %q", msg, err, want)
		}
	}
}

func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t) })
}

func TestASessionGoesOnOverAnotherConnection(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		near, far := r.start(new(resume.Client))
		send(t, near, "1", "2", "3")
		receive(t, far, "1") // 2 and 3 have arrived, and wait
		send(t, far, "a", "b")
		receive(t, near, "a")
		synctest.Wait()
		r.cut(near)
		if near.State() != resume.Detached || far.State() != resume.Detached || near.Conn() != nil {
			t.Fatal(near.State(), far.State())
		}
		send(t, near, "4")
		send(t, far, "c")
		receive(t, far, "2")
		r.up()
		receive(t, far, "3", "4")
		receive(t, near, "b", "c")
		if err := near.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		wantEnd(t, near, libnet.ErrSessionClosed, 0)
		wantEnd(t, far, io.EOF, 0)
		if stats := r.server.Stats(); stats.Resumed != 1 || stats.Open != 0 || stats.Kept != 0 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestEachEndTellsBothSidesHowManyMessagesWereNotAcknowledged(t *testing.T) {
	const window = time.Minute
	for name, test := range map[string]struct {
		end               func(t *testing.T, r *rig, near, far *resume.Session)
		near, far         error
		nearLost, farLost uint64
	}{
		"the client closes": {func(t *testing.T, r *rig, near, far *resume.Session) { _ = near.Close() },
			libnet.ErrSessionClosed, io.EOF, 2, 1},
		"the server closes": {func(t *testing.T, r *rig, near, far *resume.Session) { _ = far.Close() },
			io.EOF, libnet.ErrSessionClosed, 2, 1},
		"the client is away for longer than the window": {func(t *testing.T, r *rig, near, far *resume.Session) {
			r.cut(near)
			time.Sleep(window + time.Second)
		}, resume.ErrWindow, resume.ErrWindow, 2, 1},
		"the client comes too late": {func(t *testing.T, r *rig, near, far *resume.Session) {
			r.cut(near)
			_ = far.Close()
			r.up()
		}, resume.ErrNotKept, libnet.ErrSessionClosed, 2, 1},
		"the server goes": {func(t *testing.T, r *rig, near, far *resume.Session) { r.server.Close() },
			io.EOF, libnet.ErrServerClosed, 2, 1},
		"the reconnect.Client goes": {func(t *testing.T, r *rig, near, far *resume.Session) {
			_ = near.Conn().Close()
			r.down.Store(true)
			time.Sleep(2 * window)
		}, resume.ErrWindow, resume.ErrWindow, 2, 1},
		"a shutdown has no time": {func(t *testing.T, r *rig, near, far *resume.Session) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			var left *libnet.ShutdownError
			if err := near.Shutdown(ctx); !errors.As(err, &left) || left.Undelivered != 2 || !errors.Is(err, ctx.Err()) {
				t.Error(err)
			}
		}, libnet.ErrSessionClosed, io.EOF, 2, 1},
		"a shutdown waits until all is taken": {func(t *testing.T, r *rig, near, far *resume.Session) {
			ended := make(chan error)
			go func() { ended <- near.Shutdown(t.Context()) }()
			synctest.Wait()
			if err := near.Send("late"); !errors.Is(err, libnet.ErrSessionClosed) {
				t.Error(err)
			}
			r.cut(near)
			receive(t, far, "2", "3")
			r.up()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}, libnet.ErrSessionClosed, io.EOF, 0, 1},
		"both shut down, and receive": {func(t *testing.T, r *rig, near, far *resume.Session) {
			ended := make(chan error, 2)
			go func() { ended <- near.Shutdown(t.Context()) }()
			go func() { ended <- far.Shutdown(t.Context()) }()
			synctest.Wait()
			receive(t, far, "2", "3")
			receive(t, near, "b")
			if err := errors.Join(<-ended, <-ended); err != nil {
				t.Error(err)
			}
		}, libnet.ErrSessionClosed, libnet.ErrSessionClosed, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, func(s *resume.Server) { s.Window = window })
				client := new(resume.Client)
				client.Window = window
				near, far := r.start(client)
				send(t, near, "1", "2", "3")
				receive(t, far, "1")
				send(t, far, "a", "b")
				receive(t, near, "a")
				time.Sleep(time.Second) // for acknowledgements
				test.end(t, r, near, far)
				wantEnd(t, near, test.near, test.nearLost)
				wantEnd(t, far, test.far, test.farLost)
				for _, s := range []*resume.Session{near, far} {
					if err := s.Send("late"); err != s.Err() {
						t.Errorf("Send: %v", err)
					}
					if _, err := s.Receive(); err != s.Err() {
						t.Errorf("Receive: %v", err)
					}
					if err := s.SendAcked(t.Context(), "late"); err != s.Err() {
						t.Errorf("SendAcked: %v", err)
					}
				}
				r.server.Close()
				if stats := r.server.Stats(); stats.Open != 0 || stats.Kept != 0 || stats.KeptBytes != 0 {
					t.Errorf("%+v", stats)
				}
			})
		})
	}
}

func TestSendAckedReturnsWhenThePeersApplicationHasTheMessage(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(s *resume.Server) { s.AckDelay = time.Hour })
		near, far := r.start(new(resume.Client))
		acked := make(chan error, 1)
		begin := time.Now()
		go func() { acked <- near.SendAcked(t.Context(), "1") }()
		synctest.Wait()
		if len(acked) != 0 || far.Stats().Received != 1 {
			t.Fatal("acknowledged before it was taken, or not arrived")
		}
		receive(t, far, "1")
		if err := <-acked; err != nil || time.Since(begin) > 0 {
			t.Error(err, time.Since(begin))
		}
		// Over a cut, too.
		go func() { acked <- near.SendAcked(t.Context(), "2") }()
		synctest.Wait()
		r.cut(near)
		receive(t, far, "2")
		r.up()
		if err := <-acked; err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := near.SendAcked(ctx, "3"); err != context.DeadlineExceeded {
			t.Error(err)
		}
	})
}

func TestAcknowledgementsWaitForAMessageAndNoLongerThanTheirDelay(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(s *resume.Server) { s.AckDelay = time.Second })
		near, far := r.start(new(resume.Client))
		acknowledged := func(want uint64, when string) {
			t.Helper()
			synctest.Wait()
			if got := near.Stats().Acknowledged; got != want {
				t.Errorf("%s: %d acknowledged; want %d", when, got, want)
			}
		}
		send(t, near, "1")
		receive(t, far, "1")
		acknowledged(0, "at once")
		time.Sleep(time.Second - 1)
		acknowledged(0, "before the delay")
		time.Sleep(time.Nanosecond)
		acknowledged(1, "after the delay")
		time.Sleep(time.Minute)
		send(t, near, "2", "3")
		receive(t, far, "2", "3")
		send(t, far, "a")
		acknowledged(3, "with a message")
		for range 40 {
			send(t, near, "x")
			receive(t, far, "x")
		}
		acknowledged(3+32, "in bulk")
		time.Sleep(time.Second)
		acknowledged(43, "in the end")
	})
}

func TestBeyondItsBoundsASessionTakesNoMessage(t *testing.T) {
	for name, set := range map[string]func(*resume.Config){
		"messages": func(c *resume.Config) { c.MaxMessages, c.MaxBytes = 3, -1 },
		"bytes":    func(c *resume.Config) { c.MaxMessages, c.MaxBytes = -1, 9 },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				// The smaller of both ends' bounds counts: here the server's.
				r := newRig(t, func(s *resume.Server) { set(&s.Config) })
				near, far := r.start(new(resume.Client))
				send(t, near, "111", "222", "333")
				if err := near.Send("444"); err != libnet.ErrSessionBlocked {
					t.Fatal(err)
				}
				waited := make(chan error, 1)
				go func() { waited <- near.SendContext(t.Context(), "444") }()
				synctest.Wait()
				r.cut(near)
				receive(t, far, "111")
				r.up()
				if err := <-waited; err != nil {
					t.Fatal(err)
				}
				receive(t, far, "222", "333", "444")
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				send(t, near, "555", "666", "777")
				if err := near.SendContext(ctx, "888"); err != context.DeadlineExceeded {
					t.Error(err)
				}
			})
		})
	}
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(s *resume.Server) { s.MaxBytes = 8 })
		near, far := r.start(new(resume.Client))
		if err := near.Send("123456789"); err != libnet.ErrFrameTooLarge {
			t.Error(err)
		}
		send(t, near, "12345678")
		receive(t, far, "12345678")
	})
}

func TestWhatWasSentBeforeTheFirstConnectionKeepsToThePeersBounds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(s *resume.Server) { s.MaxMessages, s.MaxBytes = 2, 5 })
		r.down.Store(true)
		client := new(resume.Client)
		near := client.Start(r.over())
		defer near.Close()
		send(t, near, "1", "2", "3", "44444", "5", "6666")
		r.up()
		far := <-r.sessions
		time.Sleep(time.Second)
		if n := far.Stats().Received; n != 2 {
			t.Errorf("%d have arrived", n)
		}
		receive(t, far, "1", "2", "3", "44444", "5", "6666")
		if err := near.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		// One that is too long for the peer ends the session.
		r.down.Store(true)
		near = client.Start(r.over())
		send(t, near, "1", "666666")
		r.up()
		wantEnd(t, near, libnet.ErrFrameTooLarge, 2)
		wantEnd(t, <-r.sessions, io.EOF, 0)
	})
}

func TestAHandlerThatPanicsEndsItsSessionAlone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(s *resume.Server) {
			s.MessageHandler = func(s *resume.Session, msg []byte) {
				if string(msg) == "panic" {
					panic("as asked")
				}
				_ = s.Send(msg)
			}
		})
		client := new(resume.Client)
		one, other := client.Start(r.over()), client.Start(r.over())
		t.Cleanup(func() { _, _ = one.Close(), other.Close() })
		send(t, one, "x")
		receive(t, one, "x")
		time.Sleep(time.Second)
		send(t, one, "panic", "y")
		wantEnd(t, one, nil, 2) // io.EOF, or ErrNotKept where the connection ended first
		send(t, other, "x")
		receive(t, other, "x")
		if stats := r.server.Stats(); stats.Open != 1 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestCloseCallbacksRunOnceInOrder(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		near, _ := r.start(new(resume.Client))
		var order []int
		near.OnClose(func() { order = append(order, 1); panic("as asked") })
		near.OnClose(func() { order = append(order, 2) })
		_ = near.Close()
		_ = near.Close()
		synctest.Wait()
		near.OnClose(func() { order = append(order, 3) })
		if len(order) != 3 || order[0] != 1 || order[1] != 2 || order[2] != 3 {
			t.Error(order)
		}
	})
}

// refused dials by hand, sends a hello's frame and returns the answer.
func (r *rig) byHand(frame []byte) (conn *libnet.Session, answer []byte) {
	r.t.Helper()
	pipe, err := r.pipes.Dial()
	if err != nil {
		r.t.Fatal(err)
	}
	conn = rawSession(r.t, pipe)
	if err := conn.Send(frame); err != nil {
		r.t.Fatal(err)
	}
	answer, err = conn.Receive()
	if err != nil {
		r.t.Fatal(err)
	}
	return conn, answer
}

func rawSession(t testing.TB, conn net.Conn) *libnet.Session {
	t.Helper()
	s, err := (&libnet.Dialer{Protocol: testkit.Frames}).NewSession(conn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}
