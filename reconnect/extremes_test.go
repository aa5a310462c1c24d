package reconnect_test

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/reconnect"
)

func TestTheBackOffDoublesFromTheSmallest(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		attempts := 0
		c := start(t, &reconnect.Client{MinBackoff: 1, Dial: func(context.Context) (*libnet.Session, error) {
			attempts++
			return nil, errDown
		}})
		time.Sleep(300 * time.Millisecond)
		synctest.Wait()
		// From 1 ns it takes 28 doublings to 300 ms; half of each bound is waited on average.
		if attempts < 15 || attempts > 60 {
			t.Errorf("%d attempts in 300 ms", attempts)
		}
		c.Close()
	})
}

var extremes = []time.Duration{math.MinInt64, -1, 0, 1, time.Millisecond, math.MaxInt64 - 1, math.MaxInt64}

// Whatever is set, the delays are within MaxBackoff, or 10 ms if that is less, and there is no hot loop.
func TestNoBackOffOverflowsOrLoops(t *testing.T) {
	for _, least := range extremes {
		for _, most := range extremes {
			inBubble(t, func(t *testing.T) {
				c := &reconnect.Client{MinBackoff: least, MaxBackoff: most}
				bound := most
				switch {
				case most == 0:
					bound = 30 * time.Second
				case most < 10*time.Millisecond:
					bound = 10 * time.Millisecond
				}
				all := delays(t, c, 80) // from 1 ns, 63 doublings reach the largest Duration
				sum := 0.0
				for _, delay := range all {
					if delay < 0 || delay > bound+1 && bound < math.MaxInt64 {
						t.Fatalf("MinBackoff %d, MaxBackoff %d: delay %v", least, most, delay)
					}
				}
				for _, delay := range all[40:] {
					sum += delay.Seconds()
				}
				if sum < 40*0.002 { // they are 5 ms on average at least
					t.Errorf("MinBackoff %d, MaxBackoff %d: the last 40 delays are %v together", least, most, sum)
				}
			})
		}
	}
}

func TestAnAttemptTimeoutOfAnySizeBoundsAttempts(t *testing.T) {
	for _, timeout := range extremes {
		inBubble(t, func(t *testing.T) {
			var deadline time.Time
			var has bool
			began := time.Now()
			c := &reconnect.Client{AttemptTimeout: timeout}
			c.Dial = func(ctx context.Context) (*libnet.Session, error) {
				deadline, has = ctx.Deadline()
				c.Close()
				return nil, errDown
			}
			start(t, c)
			<-c.Done()
			want := timeout
			if timeout == 0 {
				want = 10 * time.Second
			}
			if has != (timeout >= 0) || has && deadline.Sub(began) != want {
				t.Errorf("AttemptTimeout %d: deadline in %v, %v", timeout, deadline.Sub(began), has)
			}
		})
	}
}

func TestBoundsOfWhatIsHeldAtTheirExtremes(t *testing.T) {
	for _, messages := range []int{math.MinInt, -1, 1, math.MaxInt} {
		for _, bytes := range []int{math.MinInt, -1, 1, math.MaxInt} {
			c := &reconnect.Client{HoldMessages: messages, HoldBytes: bytes}
			want := min(max(messages, 0), 1000)
			if bytes == 1 {
				want = min(want, 1)
			}
			startGated(t, c)
			held := 0
			for held < 1000 && c.Send("x") == nil {
				held++
			}
			if held != want {
				t.Errorf("HoldMessages %d, HoldBytes %d: held %d, want %d", messages, bytes, held, want)
			}
			c.Close()
		}
	}
}
