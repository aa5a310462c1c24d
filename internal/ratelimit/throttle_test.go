package ratelimit_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet/internal/ratelimit"
)

func TestAPauseEndsOnceAtItsTimeOrWhenItIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var throttle ratelimit.Throttle
		var mu sync.Mutex
		var ends []time.Duration
		begun := time.Now()
		throttle.Init(ratelimit.Limit{Messages: 1, Per: time.Second}, func() {
			mu.Lock()
			defer mu.Unlock()
			ends = append(ends, time.Since(begun))
		})
		throttle.ResumeNow() // from no pause
		throttle.Stop()
		throttle.ResumeIn(time.Second)
		time.Sleep(2 * time.Second)
		throttle.ResumeIn(time.Hour)
		time.Sleep(time.Second)
		throttle.ResumeNow()
		time.Sleep(time.Second)
		throttle.ResumeIn(time.Minute)
		throttle.Stop()
		time.Sleep(2 * time.Hour)
		mu.Lock()
		defer mu.Unlock()
		if len(ends) != 2 || ends[0] != time.Second || ends[1] != 3*time.Second {
			t.Errorf("pauses ended at %v, want 1 s and 3 s", ends)
		}
	})
}
