package reconnect_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/reconnect"
)

// told collects the errors of the lines about attempts.
type told struct {
	mu     sync.Mutex
	errors []string
}

func (l *told) logger() *slog.Logger {
	return slog.New(logs(func(r slog.Record) {
		l.mu.Lock()
		defer l.mu.Unlock()
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == "error" {
				l.errors = append(l.errors, a.Value.String())
			}
			return true
		})
	}))
}

func (l *told) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.errors...)
}

func refusal(localPort int, errno error) error {
	return &net.OpError{Op: "read", Net: "tcp", Err: errno,
		Source: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: localPort}, Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7000}}
}

func TestTheLogSaysWhyAttemptsFailOnceAReason(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var log told
		attempts := 0
		c := &reconnect.Client{
			Logger: log.logger(),
			Dial: func(context.Context) (*libnet.Session, error) {
				attempts++
				switch {
				case attempts <= 5: // another local port each time: the same reason
					return nil, refusal(50_000+attempts, syscall.ECONNRESET)
				case attempts <= 10:
					return nil, errDown
				}
				return nil, refusal(50_000+attempts, syscall.ECONNREFUSED)
			},
		}
		c.Start()
		time.Sleep(10 * time.Minute)
		c.Close()
		<-c.Done()
		lines := log.lines()
		if attempts < 15 || len(lines) != 3 || !strings.Contains(lines[0], "reset") || lines[1] != "down" || !strings.Contains(lines[2], "refused") {
			t.Errorf("%d attempts, told of %q", attempts, lines)
		}
	})
}

func TestTheLogIsToldAgainWhenAttemptsFailAfterASessionThatWorked(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var log told
		place := newSite(t, 8, func(s *libnet.Session) {
			s.Send("hello")
			new(recorder).ServeSession(s)
		})
		c := &reconnect.Client{Logger: log.logger(), Dial: place.dial}
		c.Start()
		for range 3 {
			time.Sleep(time.Minute)
			place.up()
			time.Sleep(2 * time.Minute)
			place.down()
		}
		c.Close()
		<-c.Done()
		if lines := log.lines(); len(lines) != 3 {
			t.Errorf("%q", lines)
		}
	})
}

func TestWhatIsLoggedOfFailuresIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var log told
		attempts := 0
		c := &reconnect.Client{
			Logger: log.logger(), MaxBackoff: 100 * time.Millisecond,
			Dial: func(context.Context) (*libnet.Session, error) {
				attempts++
				return nil, fmt.Errorf("reason %d, %s\nINFO forged", attempts, strings.Repeat("x", 1000))
			},
		}
		c.Start()
		time.Sleep(10*time.Minute - time.Second)
		c.Close()
		<-c.Done()
		lines := log.lines()
		if attempts < 1000 || len(lines) < 50 || len(lines) > 100 {
			t.Errorf("%d lines of %d attempts in ten minutes", len(lines), attempts)
		}
		for _, line := range lines {
			if len(line) > 300 || strings.Contains(line, "\n") {
				t.Fatalf("%q", line)
			}
		}
	})
}

// deadBackend is a proxy's side: it takes each connection, and then finds nobody to pass it on to.
func deadBackend(reads bool) func(context.Context) (*libnet.Session, error) {
	return func(context.Context) (*libnet.Session, error) {
		near, far := libnettest.Pipe()
		go func() {
			if reads {
				_, _ = far.Read(make([]byte, 1000))
			}
			time.Sleep(time.Millisecond)
			_ = far.Close()
		}()
		d := libnet.Dialer{Protocol: frames}
		d.SendQueue = 64
		d.Logger = quiet
		return d.NewSession(near)
	}
}

func TestWhatIsHeldWaitsForTheAnswerThatOnConnectWaitsFor(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := start(t, &reconnect.Client{
			Dial: deadBackend(true),
			OnConnect: func(_ context.Context, s *libnet.Session) error {
				if err := s.Send("login"); err != nil {
					return err
				}
				_, err := s.Receive()
				return err
			},
		})
		for i := range 20 {
			send(t, c, numbered(i))
		}
		time.Sleep(time.Minute)
		if stats := c.Stats(); stats.Held != 20 || stats.Lost != 0 || stats.Connects != 0 || stats.Failures < 3 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestASessionThatEndsSoonWithoutAMessageIsAFailure(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var longest time.Duration
		var log told
		c := &reconnect.Client{Dial: deadBackend(false), Logger: log.logger(), OnState: func(change reconnect.Change) {
			longest = max(longest, change.Delay)
		}}
		c.Start()
		time.Sleep(30 * time.Minute)
		c.Close()
		<-c.Done()
		stats := c.Stats()
		if stats.Failures != stats.Connects || stats.Failures < 10 || longest < 15*time.Second || len(log.lines()) != 1 {
			t.Errorf("%+v, longest delay %v, log %q", stats, longest, log.lines())
		}
	})
}

func TestASessionThatLastedOrBroughtAMessageIsNoFailure(t *testing.T) {
	for name, serve := range map[string]libnet.HandlerFunc{
		"it lasted": func(s *libnet.Session) {
			select {
			case <-time.After(30 * time.Second):
			case <-s.Done():
			}
		},
		"it brought": func(s *libnet.Session) { s.Send("a message") },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				place := newSite(t, 8, serve)
				place.up()
				c := start(t, &reconnect.Client{Dial: place.dial})
				time.Sleep(10 * time.Minute)
				if stats := c.Stats(); stats.Connects < 3 || stats.Failures != 0 {
					t.Errorf("%+v", stats)
				}
			})
		})
	}
}

func TestAnErrorThatPanicsIsToldOf(t *testing.T) {
	for name, err := range map[string]error{
		"once":                     callingError(func() { panic("within") }),
		"with what panics in turn": callingError(func() { panic(unprintable{}) }),
		"no pointer":               (*net.OpError)(nil),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var log told
				c := &reconnect.Client{Logger: log.logger(), Dial: func(context.Context) (*libnet.Session, error) { return nil, err }}
				c.Start()
				time.Sleep(time.Minute)
				c.Close()
				<-c.Done()
				if lines := log.lines(); len(lines) != 1 || c.Stats().Failures < 3 {
					t.Errorf("%q, %+v", lines, c.Stats())
				}
			})
		})
	}
}
