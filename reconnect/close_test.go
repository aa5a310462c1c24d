package reconnect_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/reconnect"
)

func TestShutdownConnectsForWhatIsHeld(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var server recorder
		place := newSite(t, 8, server.ServeSession)
		client := start(t, &reconnect.Client{Dial: place.dial})
		for i := range 200 {
			send(t, client, numbered(i))
		}
		time.AfterFunc(10*time.Second, place.up)
		if err := client.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-client.Done()
		synctest.Wait()
		if got := server.received(); len(got) != 200 || got[199] != numbered(199) {
			t.Fatalf("received %d", len(got))
		}
	})
}

// The session's end may be seen before Shutdown has returned: another attempt would log in once more.
func TestShutdownConnectsForNothingElse(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var server recorder
		place := newSite(t, 8, server.ServeSession)
		place.up()
		dials := 0
		client := start(t, &reconnect.Client{
			Dial: func(ctx context.Context) (*libnet.Session, error) {
				dials++
				return place.dial(ctx)
			},
			OnConnect: func(_ context.Context, s *libnet.Session) error {
				s.OnClose(func() { time.Sleep(time.Minute) }) // for which Shutdown waits
				return nil
			},
			MinBackoff: -1,
		})
		send(t, client, "hello")
		if err := client.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		<-client.Done()
		if dials != 1 {
			t.Errorf("the client dialled %d times", dials)
		}
	})
}

func TestShutdownSaysWhatItCouldNotDeliver(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		place := newSite(t, 8, nil)
		client := start(t, &reconnect.Client{Dial: place.dial})
		for i := range 5 {
			send(t, client, numbered(i))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := client.Shutdown(ctx)
		var undelivered *libnet.ShutdownError
		if !errors.As(err, &undelivered) || undelivered.Undelivered != 5 || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		<-client.Done()
		if err := client.Send("more"); err != libnet.ErrSessionClosed {
			t.Fatal(err)
		}
	})
}

func TestShutdownCountsWhatAPeerThatNeverReadsLeft(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		stuck := make(chan struct{})
		defer close(stuck)
		place := newSite(t, 5, func(*libnet.Session) { <-stuck })
		place.dialer.WriteTimeout = -1
		place.dialer.SendQueueBytes = -1
		client := start(t, &reconnect.Client{Dial: place.dial, HoldBytes: -1})
		for range 20 {
			send(t, client, strings.Repeat("x", 65_000))
		}
		place.up()
		time.Sleep(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := client.Shutdown(ctx)
		var undelivered *libnet.ShutdownError
		if !errors.As(err, &undelivered) || undelivered.Undelivered < 18 || undelivered.Forced != 1 {
			t.Fatal(err)
		}
		<-client.Done()
		if lost := client.Stats().Lost; lost != undelivered.Undelivered {
			t.Fatalf("%v, but lost %d", err, lost)
		}
	})
}

func TestCloseEndsAClientInEveryState(t *testing.T) {
	for name, test := range map[string]struct {
		client *reconnect.Client
		up     bool
	}{
		"waiting":    {&reconnect.Client{}, false},
		"connected":  {&reconnect.Client{}, true},
		"dialling":   {&reconnect.Client{Dial: hang, AttemptTimeout: -1}, true},
		"logging in": {&reconnect.Client{OnConnect: hangOn, AttemptTimeout: -1}, true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				place := newSite(t, 8, new(recorder).ServeSession)
				if test.up {
					place.up()
				}
				client := test.client
				if client.Dial == nil {
					client.Dial = place.dial
				}
				var last reconnect.Change
				client.OnState = func(c reconnect.Change) { last = c }
				start(t, client)
				synctest.Wait()
				begin := time.Now()
				client.Close()
				<-client.Done()
				client.Close()
				client.Start()
				if took := time.Since(begin); took != 0 || last.State != reconnect.Closed || client.Session() != nil {
					t.Fatalf("took %v, state %v", took, last.State)
				}
			})
		})
	}
}

func hang(ctx context.Context) (*libnet.Session, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func hangOn(ctx context.Context, s *libnet.Session) error {
	_, err := s.Receive() // which no context ends
	return err
}

func TestAnAttemptIsBounded(t *testing.T) {
	for name, client := range map[string]*reconnect.Client{
		"Dial":      {Dial: hang},
		"OnConnect": {OnConnect: hangOn},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				place := newSite(t, 8, new(recorder).ServeSession)
				place.up()
				if client.Dial == nil {
					client.Dial = place.dial
				}
				begin := time.Now()
				waiting := make(chan reconnect.Change, 100)
				client.OnState = func(c reconnect.Change) {
					if c.State == reconnect.Waiting {
						waiting <- c
					}
				}
				start(t, client)
				if c := <-waiting; !errors.Is(c.Err, context.DeadlineExceeded) || time.Since(begin) != 10*time.Second {
					t.Fatalf("%v after %v", c.Err, time.Since(begin))
				}
			})
		})
	}
}

func TestShutdownOfAClientThatWasNotStartedEndsIt(t *testing.T) {
	c := new(reconnect.Client)
	if err := c.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	<-c.Done()
	if err := c.Err(); err != libnet.ErrSessionClosed {
		t.Errorf("Err: %v", err)
	}
}

func TestShutdownOfAClientThatWasNotStartedGivesUpAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := &reconnect.Client{Logger: quiet}
		for i := range 5 {
			send(t, c, numbered(i))
		}
		begin := time.Now()
		var undelivered *libnet.ShutdownError
		if err := c.Shutdown(context.Background()); !errors.As(err, &undelivered) || undelivered.Undelivered != 5 || time.Since(begin) != 0 {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		<-c.Done()
	})
}

// The session takes ten messages and fails, before, while, or after Shutdown looks.
func TestShutdownAnswersNilOnlyWhenAllWasWritten(t *testing.T) {
	for round := range 300 {
		up := make(chan struct{})
		first := true
		c := &reconnect.Client{
			MinBackoff: time.Hour, MaxBackoff: time.Hour, Logger: quiet,
			Dial: func(context.Context) (*libnet.Session, error) {
				if !first {
					return nil, errDown
				}
				first = false
				<-up
				near, far := libnettest.PipeSize(1)
				go func() {
					_, _ = far.Read(make([]byte, 1))
					_ = far.(*libnettest.PipeConn).Reset()
				}()
				d := libnet.Dialer{Protocol: frames}
				d.SendQueue, d.Logger = 64, quiet
				return d.NewSession(near)
			},
		}
		c.Start()
		for i := range 10 {
			send(t, c, numbered(i))
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		result := make(chan error)
		go func() { result <- c.Shutdown(ctx) }()
		time.Sleep(time.Duration(round%5) * 10 * time.Microsecond)
		close(up)
		err := <-result
		cancel()
		<-c.Done()
		lost := c.Stats().Lost
		var undelivered *libnet.ShutdownError
		if errors.As(err, &undelivered) && undelivered.Undelivered != lost || err == nil && lost > 0 {
			t.Fatalf("round %d: %v, but lost %d", round, err, lost)
		}
	}
}

func TestShutdownAnswersForNoEarlierSession(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var server recorder
		place := newSite(t, 8, server.ServeSession)
		dial, sessions := stalled(8)
		c := &reconnect.Client{Dial: func(ctx context.Context) (*libnet.Session, error) {
			if len(*sessions) == 0 {
				return dial(ctx)
			}
			return place.dial(ctx)
		}}
		start(t, c)
		synctest.Wait()
		send(t, c, "lost")
		_ = (*sessions)[0].Close()
		synctest.Wait()
		place.up()
		send(t, c, "delivered")
		if err := c.Shutdown(t.Context()); err != nil || c.Stats().Lost != 1 {
			t.Errorf("%v, %+v", err, c.Stats())
		}
	})
}
