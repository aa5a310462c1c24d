// Package wait waits for time and for conditions, no longer than a context lives.
package wait

import (
	"context"
	"time"
)

// pollEvery is how often Until looks at its condition.
const pollEvery = 5 * time.Millisecond

// Until waits for a condition that nothing announces, for at most limit, and reports whether it came to hold.
func Until(ctx context.Context, limit time.Duration, condition func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for !condition() {
		if !Pause(ctx, pollEvery) {
			return condition()
		}
	}
	return true
}

// Pause waits for d, and reports false when ctx has ended before that.
func Pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
