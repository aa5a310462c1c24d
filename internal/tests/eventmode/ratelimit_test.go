package eventmode

import (
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

// A received message, and when.
type timed struct {
	message string
	at      time.Time
}

// Nothing is lost that comes while a session pauses, though no event tells of it a second time, and nothing is early.
func TestEveryModeKeepsToTheRateLimitAndLosesNothing(t *testing.T) {
	testkit.OverModes(t, testkit.Modes, func(t *testing.T, mode testkit.Mode) {
		const messages, burst, each = 24, 4, 10 * time.Millisecond
		got := make(chan timed, messages)
		r := mode.Start(t, func(srv *libnet.Server) { srv.RateLimit = libnet.RateLimit{Messages: burst, Per: burst * each} },
			func(_ *libnet.Session, msg []byte) { got <- timed{string(msg), time.Now()} })
		conn := r.Dial()
		begun := time.Now()
		for i := range messages {
			testkit.MustWrite(t, conn, testkit.Frame(string(testkit.Message(0, i, i*100))))
			if i >= messages/2 {
				time.Sleep(each / 2)
			}
		}
		_ = conn.Close()
		for i := range messages {
			m := testkit.Await(t, testkit.Patience, "a message", got)
			if _, number := testkit.ParseMessage(t, []byte(m.message)); number != i {
				t.Fatalf("message %d came in the place of %d", number, i)
			}
			if after, earliest := m.at.Sub(begun), time.Duration(i-burst+1)*each; after < earliest {
				t.Errorf("message %d came after %v, the limit says %v", i, after, earliest)
			}
		}
		testkit.Eventually(t, "the peer's end", func() bool { return r.Stats().Open == 0 })
	})
}

// What is read at once fills more than one chunk, and with it comes the end.
func TestEveryModeReadsOnBehindAPause(t *testing.T) {
	testkit.OverModes(t, testkit.Modes, func(t *testing.T, mode testkit.Mode) {
		const messages, size = 40, 20_000
		got := make(chan int, messages)
		r := mode.Start(t, func(srv *libnet.Server) { srv.RateLimit = libnet.RateLimit{Bytes: 2 * size, Per: 2 * time.Millisecond} },
			func(_ *libnet.Session, msg []byte) { got <- len(msg) })
		conn := r.Dial()
		go func() {
			for range messages {
				if _, err := conn.Write(testkit.Frame(string(make([]byte, size)))); err != nil {
					t.Error(err)
				}
			}
			_ = conn.Close()
		}()
		for range messages {
			if n := testkit.Await(t, testkit.Patience, "a message", got); n != size {
				t.Errorf("a message of %d bytes", n)
			}
		}
		testkit.Eventually(t, "the peer's end", func() bool { return r.Stats().Open == 0 })
	})
}

func TestEveryModeEndsASessionThatPausesAtOnce(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, r *testkit.Rig, s *libnet.Session) error{
		"Close": func(_ *testing.T, _ *testkit.Rig, s *libnet.Session) error { return s.Close() },
		"Shutdown": func(t *testing.T, _ *testkit.Rig, s *libnet.Session) error {
			return s.Shutdown(testkit.TimeoutContext(t, testkit.Patience))
		},
		"Server.Shutdown": func(t *testing.T, r *testkit.Rig, _ *libnet.Session) error {
			return r.Server.Shutdown(testkit.TimeoutContext(t, testkit.Patience))
		},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.OverModes(t, testkit.Modes, func(t *testing.T, mode testkit.Mode) {
				r := mode.Start(t, func(srv *libnet.Server) {
					srv.RateLimit = libnet.RateLimit{Messages: 1, Per: time.Hour}
				}, testkit.EchoMessage)
				conn, s := r.Open()
				testkit.Ask(t, conn, "first")
				testkit.MustWrite(t, conn, testkit.Frame("waits"))
				time.Sleep(5 * time.Millisecond) // until it has most likely been read
				go func() {
					_, _ = io.Copy(io.Discard, conn)
					_ = conn.Close()
				}()
				if err := end(t, r, s); err != nil {
					t.Error(err)
				}
				testkit.Await(t, testkit.Patience, "the end", s.Done())
				if in := s.Stats().MessagesIn; in != 1 {
					t.Errorf("received %d messages", in)
				}
			})
		})
	}
}

func TestASessionOfTheLoopThatPausesHasNoGoroutine(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no event loop")
	}
	testkit.OverModes(t, testkit.LoopModes, func(t *testing.T, mode testkit.Mode) {
		const sessions = 50
		r := mode.Start(t, func(srv *libnet.Server) {
			srv.RateLimit = libnet.RateLimit{Messages: 1, Per: time.Hour}
		}, testkit.EchoMessage)
		before := runtime.NumGoroutine()
		for _, conn := range r.DialMany(sessions) {
			testkit.Ask(t, conn, "first")
			for range 10 { // each an event
				testkit.MustWrite(t, conn, testkit.Frame("waits"))
			}
		}
		testkit.Eventually(t, "no goroutine of a session", func() bool { return runtime.NumGoroutine() < before+10 })
		if in := r.Stats().MessagesIn; in != sessions {
			t.Errorf("received %d messages of %d sessions", in, sessions)
		}
	})
}
