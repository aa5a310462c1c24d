package reconnect_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/reconnect"
	"github.com/libnet-go/libnet/ws"
)

var errRefused = errors.New("login refused")

// ends is what a client can end by itself for.
var ends = map[string]func(c *reconnect.Client, reason error){
	"Dial": func(c *reconnect.Client, reason error) {
		c.Dial = func(context.Context) (*libnet.Session, error) { return nil, reconnect.Permanent(reason) }
	},
	"OnConnect": func(c *reconnect.Client, reason error) {
		c.OnConnect = func(context.Context, *libnet.Session) error { return reconnect.Permanent(reason) }
	},
	"OnConnect, wrapped": func(c *reconnect.Client, reason error) {
		c.OnConnect = func(context.Context, *libnet.Session) error {
			return fmt.Errorf("as gopher: %w", reconnect.Permanent(reason))
		}
	},
	"OnConnect, when its time is up": func(c *reconnect.Client, reason error) {
		c.OnConnect = func(ctx context.Context, _ *libnet.Session) error { <-ctx.Done(); return reconnect.Permanent(reason) }
	},
	"an attempt's reason that is final": func(c *reconnect.Client, reason error) {
		c.Dial = func(context.Context) (*libnet.Session, error) { return nil, reason }
		c.Final = func(err error) bool { return errors.Is(err, reason) }
	},
	"a session's reason that is final": func(c *reconnect.Client, reason error) {
		c.OnConnect = func(_ context.Context, s *libnet.Session) error {
			time.AfterFunc(time.Second, func() { _ = s.CloseWithError(reason) })
			return nil
		}
		c.Final = func(err error) bool { return errors.Is(err, reason) }
	},
}

func TestAPermanentErrorEndsTheClientAndIsToldToAll(t *testing.T) {
	for name, set := range ends {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				place := newSite(t, 8, new(recorder).ServeSession)
				place.up()
				var told []reconnect.Change
				var lines []string
				c := &reconnect.Client{
					Dial:    place.dial,
					OnState: func(change reconnect.Change) { told = append(told, change) },
				}
				set(c, fmt.Errorf("%w: %w", errRefused, &fs.PathError{Op: "read", Path: "password", Err: fs.ErrPermission}))
				c.Logger = slog.New(logs(func(r slog.Record) { lines = append(lines, r.Message) }))
				c.Start()
				select {
				case <-c.Done():
				case <-time.After(time.Hour):
					c.Close()
					t.Fatal("it goes on")
				}
				if _, err := c.Ready(t.Context()); err != c.Err() || c.Send("late") != c.Err() || c.Shutdown(t.Context()) != nil {
					t.Errorf("Ready: %v, Err: %v", err, c.Err())
				}
				var path *fs.PathError
				if !errors.Is(c.Err(), errRefused) || !errors.As(c.Err(), &path) {
					t.Errorf("Err: %v", c.Err())
				}
				last := told[len(told)-1]
				if last.State != reconnect.Closed || last.Err != c.Err() {
					t.Errorf("told %+v", last)
				}
				for _, change := range told[:len(told)-1] {
					if change.State == reconnect.Waiting {
						t.Errorf("told %+v of another attempt", change)
					}
				}
				if len(lines) != 1 || lines[0] != "libnet: client has ended for good" {
					t.Errorf("logged %q", lines)
				}
				c.Close()
				if !errors.Is(c.Err(), errRefused) {
					t.Errorf("after Close: %v", c.Err())
				}
				synctest.Wait()
				if open := place.server.Stats().Open; open != 0 {
					t.Errorf("%d sessions are left open", open)
				}
			})
		})
	}
}

func TestWhatAClientHeldThatEndedForGoodIsLostAndWhoeverWaitsLearnsWhy(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := &reconnect.Client{Dial: func(context.Context) (*libnet.Session, error) { return nil, reconnect.Permanent(errRefused) }}
		connect := startGated(t, c)
		for i := range 5 {
			send(t, c, numbered(i))
		}
		ready, shut := make(chan error, 1), make(chan error, 1)
		go func() { _, err := c.Ready(context.Background()); ready <- err }()
		synctest.Wait()
		go func() { shut <- c.Shutdown(context.Background()) }()
		if err := <-ready; err != libnet.ErrSessionClosed {
			t.Errorf("Ready of a client that shuts down: %v", err)
		}
		connect()
		var undelivered *libnet.ShutdownError
		if err := <-shut; !errors.As(err, &undelivered) || undelivered.Undelivered != 5 || !errors.Is(err, errRefused) {
			t.Errorf("Shutdown: %v", err)
		}
		if stats := c.Stats(); stats.Lost != 5 || stats.Held != 0 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestReasonsThatAreNotFinalEndNoClient(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var asked atomic.Int64
		c := start(t, &reconnect.Client{
			Dial:  func(context.Context) (*libnet.Session, error) { return nil, errDown },
			Final: func(err error) bool { asked.Add(1); return err != errDown },
		})
		time.Sleep(10 * time.Minute)
		if stats := c.Stats(); asked.Load() < 10 || stats.Failures < 10 || c.Err() != nil {
			t.Errorf("asked %d times, %+v, Err %v", asked.Load(), stats, c.Err())
		}
		c.Close()
		if c.Err() != libnet.ErrSessionClosed {
			t.Errorf("Err: %v", c.Err())
		}
	})
}

func TestPermanentOfNilIsNil(t *testing.T) {
	if err := reconnect.Permanent(nil); err != nil {
		t.Error(err)
	}
}

func TestACloseCodeOfTheServersCanBeFinal(t *testing.T) {
	server, err := libnet.Serve("tcp", "127.0.0.1:0", ws.Protocol(frames, nil), 8)
	if err != nil {
		t.Fatal(err)
	}
	server.Logger = quiet
	go server.ServeMessages(libnet.MessageHandlerFunc(func(s *libnet.Session, _ []byte) {
		_ = s.Send("somebody else has logged in as you")
		go s.ShutdownWithError(context.Background(), websocket.CloseError{Code: 4001, Reason: "logged in elsewhere"})
	}))
	defer server.Stop()
	var got string
	c := start(t, &reconnect.Client{
		Dial: func(ctx context.Context) (*libnet.Session, error) {
			d := &libnet.Dialer{Protocol: frames}
			d.SendQueue = 8
			return ws.Dial(ctx, "ws://"+server.Listener().Addr().String(), d, nil)
		},
		Handler: libnet.MessageHandlerFunc(func(_ *libnet.Session, msg []byte) { got = string(msg) }),
		Final:   func(reason error) bool { return websocket.CloseStatus(reason) == 4001 },
	})
	send(t, c, "hello")
	select {
	case <-c.Done():
	case <-time.After(20 * time.Second):
		t.Fatalf("it goes on: %+v", c.Stats())
	}
	if websocket.CloseStatus(c.Err()) != 4001 || got != "somebody else has logged in as you" || c.Stats().Connects != 1 {
		t.Errorf("received %q, then %v, %+v", got, c.Err(), c.Stats())
	}
}
