package eventmode

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

func TestEveryModeRefusesSessionsBeyondItsLimits(t *testing.T) {
	for name, configure := range map[string]func(*libnet.Server){
		"MaxSessions":      func(srv *libnet.Server) { srv.MaxSessions = 2 },
		"MaxSessionsPerIP": func(srv *libnet.Server) { srv.MaxSessionsPerIP = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			testkit.OverModes(t, []testkit.Mode{testkit.Modes[0], testkit.Modes[1], testkit.Modes[5]}, func(t *testing.T, mode testkit.Mode) {
				r := mode.Start(t, configure, testkit.EchoMessage)
				first, s := r.Open()
				second, _ := r.Open()
				third := r.Dial()
				if _, err := testkit.ReadFrame(third); err == nil {
					t.Error("a third session")
				}
				testkit.Ask(t, second, "still here")
				_ = first.Close()
				testkit.Await(t, testkit.Patience, "the first's end", s.Done())
				testkit.Eventually(t, "its place", func() bool { return r.Stats().Open == 1 })
				fourth, _ := r.Open()
				testkit.Ask(t, fourth, "in its place")
				if stats := r.Stats(); stats.Rejected != 1 || stats.Accepted != 3 || stats.Peak != 2 {
					t.Errorf("%+v", stats)
				}
			})
		})
	}
}

func TestEveryModeAsksOnSession(t *testing.T) {
	refused := errors.New("not you")
	for name, test := range map[string]struct {
		admit  func(*libnet.Session) error
		reason string
	}{
		"refuses":            {func(*libnet.Session) error { return refused }, "error"},
		"panics":             {func(*libnet.Session) error { panic("no") }, "panic"},
		"ends its goroutine": {func(*libnet.Session) error { runtime.Goexit(); return nil }, "closed"},
		"closes":             {func(s *libnet.Session) error { return s.Close() }, "closed"},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.OverModes(t, testkit.Modes[:3], func(t *testing.T, mode testkit.Mode) {
				r := mode.Start(t, func(srv *libnet.Server) { srv.OnSession = test.admit }, func(s *libnet.Session, msg []byte) {
					t.Error("the handler was called")
				})
				conn := r.Dial()
				_, _ = conn.Write(testkit.Frame("x"))
				_, _ = io.Copy(io.Discard, conn)
				testkit.Eventually(t, "the reason", func() bool { return r.Stats().Closed[test.reason] == 1 })
			})
		})
	}
}

func TestEveryModeDeliversWhatOnSessionSentBeforeItRefused(t *testing.T) {
	refused := errors.New("wrong password")
	testkit.OverModes(t, testkit.Modes, func(t *testing.T, mode testkit.Mode) {
		sessions := make(chan *libnet.Session, 1)
		r := mode.Start(t, func(srv *libnet.Server) {
			srv.OnSession = func(s *libnet.Session) error {
				if _, err := s.Receive(); err != nil {
					return err
				}
				for range 3 {
					testkit.MustSend(t, s, []byte("no"))
				}
				sessions <- s
				return refused
			}
		}, func(*libnet.Session, []byte) { t.Error("the handler was called") })
		conn := r.Dial()
		// What is unread when the server closes would make the kernel drop the answer.
		testkit.MustWrite(t, conn, append(testkit.Frame("guess"), testkit.Frame("and more")...))
		for range 3 {
			testkit.WantFrame(t, conn, "no")
		}
		if n, err := io.Copy(io.Discard, conn); n != 0 || err != nil {
			t.Errorf("then %d bytes, %v; want the end", n, err)
		}
		conn.Close()
		s := <-sessions
		<-s.Done()
		if s.Err() != refused || s.Stats().Discarded != 0 {
			t.Errorf("ended with %v, %d discarded", s.Err(), s.Stats().Discarded)
		}
		if stats := r.Stats(); stats.Rejected != 1 || stats.Accepted != 1 {
			t.Errorf("%d rejected of %d accepted", stats.Rejected, stats.Accepted)
		}
	})
}

func TestEveryModeServesWhatOnSessionLeftBehind(t *testing.T) {
	testkit.OverModes(t, testkit.Modes, func(t *testing.T, mode testkit.Mode) {
		r := mode.Start(t, func(srv *libnet.Server) {
			srv.OnSession = func(s *libnet.Session) error {
				name, err := s.Receive()
				s.State = string(name)
				return err
			}
		}, func(s *libnet.Session, msg []byte) { _ = s.Send(append([]byte(s.State.(string)), msg...)) })
		conn := r.Dial()
		testkit.MustWrite(t, conn, append(testkit.Frame("ann "), testkit.Frame("one")...))
		testkit.WantFrame(t, conn, "ann one")
		testkit.MustWrite(t, conn, testkit.Frame("two"))
		testkit.WantFrame(t, conn, "ann two")
	})
}

func TestEveryModeShutsDownASessionThatIsBeingAdmitted(t *testing.T) {
	testkit.OverModes(t, testkit.Modes[:5], func(t *testing.T, mode testkit.Mode) {
		admitting, shutting := make(chan struct{}), make(chan struct{})
		r := mode.Start(t, func(srv *libnet.Server) {
			srv.Linger = time.Minute
			srv.OnSession = func(s *libnet.Session) error {
				_, err := s.Receive()
				close(admitting)
				<-shutting
				return err
			}
		}, func(*libnet.Session, []byte) {})
		conn := r.Dial()
		testkit.MustWrite(t, conn, testkit.Frame("login"))
		go func() { // a good peer ends when it sees the end
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}()
		testkit.Await(t, testkit.Patience, "OnSession", admitting)
		time.AfterFunc(20*time.Millisecond, func() { close(shutting) })
		testkit.Within(t, testkit.Patience, "Shutdown", func() { _ = r.Shutdown(context.Background()) })
	})
}

// One OnSession that waits, or ends its goroutine, keeps none of those behind it.
func TestEveryModeAdmitsAllAtATime(t *testing.T) {
	testkit.OverModes(t, testkit.Modes[:6], func(t *testing.T, mode testkit.Mode) {
		const sessions = 24 // in the last mode a handshake would wait for OnSession
		var admitting atomic.Int32
		all := make(chan struct{})
		r := mode.Start(t, func(srv *libnet.Server) {
			srv.OnSession = func(s *libnet.Session) error {
				switch n := admitting.Add(1); {
				case n == sessions:
					close(all)
				case n%4 == 0:
					runtime.Goexit()
				}
				<-all
				return nil
			}
		}, func(s *libnet.Session, msg []byte) { _ = s.Send(msg) })
		for range sessions {
			conn := r.Dial()
			defer conn.Close()
		}
		testkit.Await(t, testkit.Patience, "all in OnSession", all)
		conn := r.Dial()
		testkit.MustWrite(t, conn, testkit.Frame("behind them"))
		testkit.WantFrame(t, conn, "behind them")
	})
}
