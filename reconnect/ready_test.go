package reconnect_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/reconnect"
)

func TestReadyWaitsForASessionThatIsUp(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		place := newSite(t, 8, new(recorder).ServeSession)
		place.up()
		c := start(t, &reconnect.Client{
			Dial:      place.dial,
			OnConnect: func(context.Context, *libnet.Session) error { time.Sleep(5 * time.Second); return nil },
		})
		for range 3 {
			begin := time.Now()
			s, err := c.Ready(t.Context())
			if err != nil || s == nil || s != c.Session() || s.IsClosed() || time.Since(begin) < 5*time.Second {
				t.Fatalf("%v, %v after %v", s, err, time.Since(begin))
			}
			if again, err := c.Ready(t.Context()); again != s || err != nil {
				t.Errorf("at once: %v, %v", again, err)
			}
			_ = s.Close() // the next round's Ready must not return it, though the client may not have noticed
		}
	})
}

func TestReadyEndsWithItsContextAndWithItsClient(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := start(t, &reconnect.Client{Dial: hang, AttemptTimeout: -1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begin := time.Now()
		if s, err := c.Ready(ctx); s != nil || err != context.DeadlineExceeded || time.Since(begin) != time.Minute {
			t.Errorf("%v, %v after %v", s, err, time.Since(begin))
		}
		result := make(chan error)
		go func() { _, err := c.Ready(t.Context()); result <- err }()
		synctest.Wait()
		c.Close()
		if err := <-result; err != libnet.ErrSessionClosed {
			t.Errorf("at Close: %v", err)
		}
	})
}
