package reconnect_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/reconnect"
)

func TestWhatIsSentBeforeStartIsHeldAndLoggedOnce(t *testing.T) {
	var lines []string
	c := &reconnect.Client{Dial: hang, Logger: slog.New(logs(func(r slog.Record) { lines = append(lines, r.Message) }))}
	if _, err := c.Ready(t.Context()); err != reconnect.ErrNotStarted {
		t.Errorf("Ready: %v", err)
	}
	send(t, c, "early")
	send(t, c, "early, too")
	if len(lines) != 1 || !strings.Contains(lines[0], "not started") {
		t.Errorf("logged %q", lines)
	}
	start(t, c)
	send(t, c, "held")
	if stats := c.Stats(); stats.Held != 3 {
		t.Errorf("%+v", stats)
	}
}

// stalled is a server that never reads, behind so small a window that a session's queue fills.
func stalled(queue int) (dial func(context.Context) (*libnet.Session, error), sessions *[]*libnet.Session) {
	sessions = new([]*libnet.Session)
	return func(context.Context) (*libnet.Session, error) {
		near, _ := libnettest.PipeSize(1)
		d := libnet.Dialer{Protocol: frames}
		d.SendQueue, d.WriteTimeout, d.Logger = queue, -1, quiet
		s, err := d.NewSession(near)
		*sessions = append(*sessions, s)
		return s, err
	}, sessions
}

// Send answers what a session ended with, which can be what it also answers for a message that cannot be sent.
func TestWhatIsHeldStaysHeldWhateverItsSessionEndsWith(t *testing.T) {
	for _, reason := range []error{libnet.ErrSessionClosed, libnet.ErrFrameTooLarge, libnet.ErrPanic, libnet.ErrWriteTimeout, io.EOF, errors.New("the user's")} {
		t.Run(reason.Error(), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				const queue, messages = 4, 20
				dial, sessions := stalled(queue)
				c := &reconnect.Client{Dial: dial, MaxBackoff: time.Second}
				connect := startGated(t, c)
				for i := range messages {
					send(t, c, numbered(i))
				}
				connect()
				time.Sleep(2 * time.Second)
				synctest.Wait()
				for _, s := range *sessions {
					_ = s.CloseWithError(reason)
				}
				synctest.Wait()
				// The queue's are lost, and the one at which a panic may have been meant is tried once more.
				if stats := c.Stats(); stats.Lost != queue || stats.Held != messages-queue {
					t.Errorf("%+v", stats)
				}
			})
		})
	}
}

func TestAHeldMessageThatEndsEachSessionKeepsNoneBack(t *testing.T) {
	for name, test := range map[string]struct {
		protocol libnet.Protocol
		bad      any
	}{
		"its encoding panics":           {calling, message(func() string { panic("as asked") })},
		"its encoding exits":            {calling, message(func() string { runtime.Goexit(); return "" })},
		"an error that nobody explains": {strange{}, "bad"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var server recorder
				place := newSite(t, 8, server.ServeSession)
				place.dialer.Protocol = test.protocol
				place.up()
				c := &reconnect.Client{Dial: place.dial}
				connect := startGated(t, c)
				send(t, c, "before")
				send(t, c, test.bad)
				send(t, c, "after")
				connect()
				time.Sleep(10 * time.Minute)
				send(t, c, "at last")
				synctest.Wait()
				// "before" may have been lost with the first session: a panic ends that at once.
				got := server.received()
				if len(got) < 2 || !slices.Equal(got[len(got)-2:], []string{"after", "at last"}) {
					t.Errorf("%q", got)
				}
				if stats := c.Stats(); stats.Lost != 4-uint64(len(got)) || stats.Held != 0 || stats.Connects > 3 {
					t.Errorf("%+v", stats)
				}
			})
		})
	}
}

// strange has errors that say nothing of the stream.
type strange struct{}

func (strange) NewCodec(rw io.ReadWriter) libnet.Codec { return &strangeCodec{frames.NewCodec(rw)} }

type strangeCodec struct{ libnet.Codec }

func (c *strangeCodec) Send(msg any) error {
	if msg == "bad" {
		return errors.New("strange")
	}
	return c.Codec.Send(msg)
}

func TestAMessageThatPanicsIsTheSendersAffair(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		place := newSite(t, 8, new(recorder).ServeSession)
		place.dialer.Protocol = calling
		place.up()
		c := start(t, &reconnect.Client{Dial: place.dial})
		synctest.Wait()
		if err := c.Send(message(func() string { panic("as asked") })); !errors.Is(err, libnet.ErrPanic) {
			t.Errorf("Send: %v", err)
		}
		if stats := c.Stats(); stats.Held != 0 || stats.Lost != 0 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestWhatSizeSaysCannotBreakTheBound(t *testing.T) {
	for name, test := range map[string]struct {
		size  int
		limit int
		held  int
	}{
		"negative":               {math.MinInt, 100, 256},
		"the largest":            {math.MaxInt, 0, 0},
		"the largest, no bound":  {math.MaxInt, -1, 1},
		"half of it, no bound":   {math.MaxInt/2 + 1, -1, 1},
		"the largest of a bound": {math.MaxInt, math.MaxInt, 1},
		"the smallest":           {math.MinInt, 1, 256},
	} {
		t.Run(name, func(t *testing.T) {
			c := &reconnect.Client{HoldBytes: test.limit, Size: func(any) int { return test.size }}
			startGated(t, c)
			held := 0
			for c.Send("x") == nil {
				held++
			}
			if stats := c.Stats(); held != test.held || stats.HeldSize < 0 {
				t.Errorf("held %d, %+v", held, stats)
			}
			c.Close()
			if stats := c.Stats(); stats.HeldSize != 0 || stats.Lost != uint64(held) {
				t.Errorf("%+v", stats)
			}
		})
	}
}

func TestSizeMayCallTheClientAndPanic(t *testing.T) {
	var c *reconnect.Client
	c = &reconnect.Client{Logger: quiet, Size: func(msg any) int {
		c.Stats()
		c.Session()
		if msg == "panic" {
			panic(unprintable{})
		}
		return 1
	}}
	startGated(t, c)
	send(t, c, "message")
	if err := c.Send("panic"); !errors.Is(err, libnet.ErrPanic) {
		t.Errorf("Send: %v", err)
	}
	if stats := c.Stats(); stats.Held != 1 {
		t.Errorf("%+v", stats)
	}
	c.Close()
}

func TestLostCountsOnlyWhatSendTook(t *testing.T) {
	for _, own := range []int{0, 1, 3, 7} {
		t.Run(fmt.Sprint(own, " of Send"), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				dial, sessions := stalled(16)
				c := start(t, &reconnect.Client{Dial: dial, OnConnect: func(_ context.Context, s *libnet.Session) error {
					return errors.Join(s.Send("user"), s.Send("password"))
				}})
				synctest.Wait()
				for i := range own {
					send(t, c, numbered(i))
				}
				synctest.Wait()
				_ = (*sessions)[0].Close()
				synctest.Wait()
				if stats := c.Stats(); stats.Lost != uint64(own) {
					t.Errorf("%+v", stats)
				}
			})
		})
	}
}

func TestWhatALoginSentIsNotLost(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dial, sessions := stalled(16)
		c := start(t, &reconnect.Client{Dial: dial, OnConnect: func(_ context.Context, s *libnet.Session) error {
			return errors.Join(s.Send("user"), s.Send("password"), errors.New("no answer"))
		}})
		time.Sleep(time.Minute)
		synctest.Wait()
		if stats := c.Stats(); len(*sessions) < 3 || stats.Lost != 0 {
			t.Errorf("%d sessions, %+v", len(*sessions), stats)
		}
	})
}

// resetting returns a listener whose conns are reset after a few reads.
func resetting(t *testing.T) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				for range 3 {
					_, _ = conn.Read(make([]byte, 1000))
				}
				_ = conn.(*net.TCPConn).SetLinger(0)
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return l
}

func TestASendThatMeetsASessionThatFailsIsHeldOrFindsNoRoom(t *testing.T) {
	for _, queue := range []int{0, 64} {
		t.Run(fmt.Sprint("queue ", queue), func(t *testing.T) {
			l := resetting(t)
			d := libnet.Dialer{Protocol: frames}
			d.SendQueue, d.Logger = queue, quiet
			var sessions []*libnet.Session // the client's goroutine's, until it has ended
			c := &reconnect.Client{
				MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond, Logger: quiet,
				Dial: func(ctx context.Context) (*libnet.Session, error) {
					s, err := d.Dial(ctx, "tcp", l.Addr().String())
					if err == nil {
						sessions = append(sessions, s)
					}
					return s, err
				},
			}
			c.Start()
			accepted := sendUntil(t, c, time.Now().Add(500*time.Millisecond))
			c.Close()
			<-c.Done()
			written := uint64(0)
			for _, s := range sessions {
				written += s.Stats().MessagesOut
			}
			if stats := c.Stats(); written+stats.Lost != accepted || stats.Connects < 3 {
				t.Errorf("accepted %d, wrote %d, %+v", accepted, written, stats)
			}
		})
	}
}

// sendUntil sends from four goroutines and returns how many messages were accepted.
func sendUntil(t *testing.T, c *reconnect.Client, end time.Time) uint64 {
	var accepted atomic.Uint64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for time.Now().Before(end) {
				switch err := c.Send("hello, world"); err {
				case nil:
					accepted.Add(1)
				case libnet.ErrSessionBlocked:
					time.Sleep(50 * time.Microsecond)
				default:
					t.Errorf("Send of a client that nobody closed: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	return accepted.Load()
}

func TestALargeMessageThatIsHeldCountsItsBytes(t *testing.T) {
	c := &reconnect.Client{HoldBytes: 1000}
	startGated(t, c)
	if err := c.Send(strings.Repeat("x", 1001)); err != libnet.ErrSessionBlocked {
		t.Errorf("Send: %v", err)
	}
	send(t, c, strings.Repeat("x", 1000))
	c.Close()
}
