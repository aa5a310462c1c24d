package reconnect_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/reconnect"
)

func TestAClientComesBackAndLogsInAgainWhenTheServerDoes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		place := newSite(t, 64, func(s *libnet.Session) {
			login, err := s.Receive()
			if err != nil || s.Send("welcome, "+string(login)) != nil {
				return
			}
			for err == nil {
				var msg []byte
				if msg, err = s.Receive(); err == nil {
					err = s.Send("echo of " + string(msg))
				}
			}
		})
		place.up()
		var got []string
		logins := 0
		client := start(t, &reconnect.Client{
			Dial: place.dial,
			OnConnect: func(ctx context.Context, s *libnet.Session) error {
				logins++
				if err := s.Send("gopher"); err != nil {
					return err
				}
				welcome, err := s.Receive()
				if string(welcome) != "welcome, gopher" {
					t.Errorf("login answered with %q, %v", welcome, err)
				}
				return err
			},
			Handler: libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) { got = append(got, string(msg)) }),
		})
		for i := range 3 {
			send(t, client, numbered(i))
			synctest.Wait()
			place.down()
			time.Sleep(time.Minute)
			place.up()
			time.Sleep(time.Minute)
		}
		send(t, client, "done")
		synctest.Wait()
		want := []string{"echo of message 0", "echo of message 1", "echo of message 2", "echo of done"}
		if !slices.Equal(got, want) || logins != 4 {
			t.Fatalf("%d logins, got %q", logins, got)
		}
		if stats := client.Stats(); stats.Connects != 4 || stats.Failures == 0 || stats.Lost != 0 {
			t.Fatalf("%+v", stats)
		}
	})
}

func TestWhatIsSentWhileThereIsNoSessionIsHeldAndSentInOrder(t *testing.T) {
	for _, queue := range []int{0, 1, 64} {
		inBubble(t, func(t *testing.T) {
			var server recorder
			place := newSite(t, queue, server.ServeSession)
			client := start(t, &reconnect.Client{Dial: place.dial})
			buf := make([]byte, 1)
			for i := range 100 {
				buf[0] = byte(i) // and is changed while it is held
				send(t, client, buf)
			}
			if stats := client.Stats(); stats.Held != 100 || stats.HeldSize != 100 {
				t.Fatalf("%+v", stats)
			}
			place.up()
			time.Sleep(time.Minute)
			send(t, client, "\x64")
			synctest.Wait()
			got := server.received()
			for i := range 101 {
				if i >= len(got) || got[i] != string([]byte{byte(i)}) {
					t.Fatalf("queue %d: received %q", queue, got)
				}
			}
			if stats := client.Stats(); stats.Held != 0 || stats.HeldSize != 0 || stats.Lost != 0 {
				t.Fatalf("%+v", stats)
			}
		})
	}
}

func TestWhatIsHeldIsBounded(t *testing.T) {
	for name, test := range map[string]struct {
		client *reconnect.Client
		msg    any
		holds  int
	}{
		"messages by default":   {&reconnect.Client{}, "x", 256},
		"bytes by default":      {&reconnect.Client{}, strings.Repeat("x", 100_000), 10},
		"messages":              {&reconnect.Client{HoldMessages: 7}, "x", 7},
		"bytes":                 {&reconnect.Client{HoldBytes: 50}, []byte("ten bytes!"), 5},
		"bytes of the user's":   {&reconnect.Client{HoldBytes: 50, Size: func(any) int { return 25 }}, struct{}{}, 2},
		"no bound on the bytes": {&reconnect.Client{HoldBytes: -1}, strings.Repeat("x", 100_000), 256},
		"nothing at all":        {&reconnect.Client{HoldMessages: -1}, "x", 0},
	} {
		t.Run(name, func(t *testing.T) {
			client := test.client
			startGated(t, client)
			held := 0
			var err error
			for err == nil && held < 1000 {
				if err = client.Send(test.msg); err == nil {
					held++
				}
			}
			if held != test.holds || err != libnet.ErrSessionBlocked {
				t.Fatalf("held %d, then %v; want %d", held, err, test.holds)
			}
			client.Close()
			if stats := client.Stats(); stats.Lost != uint64(held) || stats.Held != 0 {
				t.Fatalf("%+v", stats)
			}
			if err := client.Send(test.msg); err != libnet.ErrSessionClosed {
				t.Fatal(err)
			}
			<-client.Done()
		})
	}
}

func TestAHeldMessageThatCannotBeSentIsCountedAndKeepsNoneBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var server recorder
		place := newSite(t, 8, server.ServeSession)
		client := start(t, &reconnect.Client{Dial: place.dial, HoldBytes: -1})
		send(t, client, "before")
		send(t, client, struct{ not, bytes int }{})
		send(t, client, strings.Repeat("x", 1<<20+1))
		send(t, client, "after")
		place.up()
		time.Sleep(time.Minute)
		if got := server.received(); !slices.Equal(got, []string{"before", "after"}) {
			t.Fatalf("%q", got)
		}
		if stats := client.Stats(); stats.Lost != 2 {
			t.Fatalf("%+v", stats)
		}
		if err := client.Send(struct{}{}); !errors.Is(err, libnet.ErrEncode) {
			t.Fatalf("with a session the error is the sender's: %v", err)
		}
	})
}

// Every message that Send took was written or is counted, in order, whatever happens to the connections.
func TestAcceptedIsDeliveredOrCounted(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var server recorder
		place := newSite(t, 16, server.ServeSession)
		place.up()
		var sessions []*libnet.Session
		client := start(t, &reconnect.Client{
			Dial: place.dial, MinBackoff: 10 * time.Millisecond, MaxBackoff: time.Second,
			OnConnect: func(_ context.Context, s *libnet.Session) error {
				sessions = append(sessions, s)
				return nil
			},
		})
		const senders, each = 4, 2000
		accepted := 0
		var mu sync.Mutex
		var wg sync.WaitGroup
		for k := range senders {
			wg.Go(func() {
				for i := range each {
					if client.Send(fmt.Sprintf("%d %06d", k, i)) == nil {
						mu.Lock()
						accepted++
						mu.Unlock()
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
		for range 10 {
			time.Sleep(100 * time.Millisecond)
			if s := client.Session(); s != nil {
				s.CloseWithError(errors.New("cut"))
			}
			time.Sleep(80 * time.Millisecond)
			place.down()
			place.up()
		}
		wg.Wait()
		if err := client.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		<-client.Done()
		synctest.Wait()
		got := server.received()
		lost := client.Stats().Lost
		written := 0 // of which the server, when it stopped, may have left some unread
		for _, s := range sessions {
			written += int(s.Stats().MessagesOut)
		}
		if written+int(lost) != accepted || len(got) > written || len(got) == 0 || len(sessions) < 3 {
			t.Errorf("accepted %d, wrote %d, received %d, lost %d, %d sessions", accepted, written, len(got), lost, len(sessions))
		}
		last := make(map[byte]string)
		for _, msg := range got {
			if msg <= last[msg[0]] {
				t.Fatalf("%q behind %q", msg, last[msg[0]])
			}
			last[msg[0]] = msg
		}
	})
}

func TestAPeerThatReadsOnlyOnceItWasReadFromGetsWhatIsHeld(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		big := strings.Repeat("x", 100_000) // more than the pipe holds
		var got int
		place := newSite(t, 0, func(s *libnet.Session) {
			for range 10 {
				if s.SendContext(context.Background(), big) != nil {
					return
				}
			}
			for s.Stats().Queued > 0 { // until all was taken
				time.Sleep(time.Millisecond)
			}
			for {
				if _, err := s.Receive(); err != nil {
					return
				}
				got++
			}
		})
		place.up()
		client := start(t, &reconnect.Client{Dial: place.dial, HoldBytes: -1})
		for range 10 {
			send(t, client, big)
		}
		if err := client.Shutdown(t.Context()); err != nil || got != 10 {
			t.Fatalf("%v, received %d", err, got)
		}
	})
}

func TestStartWithoutADialPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	new(reconnect.Client).Start()
}

func TestANilContextPanicsInWordsOfLibnet(t *testing.T) {
	var nobody context.Context
	for name, misuse := range map[string]func(c *reconnect.Client){
		"Ready":    func(c *reconnect.Client) { _, _ = c.Ready(nobody) },
		"Shutdown": func(c *reconnect.Client) { _ = c.Shutdown(nobody) },
	} {
		func() {
			defer func() {
				if text, _ := recover().(string); !strings.HasPrefix(text, "libnet: "+name) {
					t.Errorf("%s: %q", name, text)
				}
			}()
			misuse(new(reconnect.Client))
		}()
	}
}

func TestAClientLeavesNothingBehind(t *testing.T) {
	libnettest.VerifyNone(t)
	place := newSite(t, 8, new(recorder).ServeSession)
	place.up()
	client := start(t, &reconnect.Client{Dial: place.dial, MinBackoff: time.Millisecond, MaxBackoff: 2 * time.Millisecond})
	for range 10 {
		place.down()
		place.up()
		client.Send("hello")
	}
}
