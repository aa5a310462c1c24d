package main

import (
	"context"
	"time"
)

// until waits for a condition that nothing announces, for at most limit, and says whether it came.
func until(ctx context.Context, limit time.Duration, condition func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for !condition() {
		if !pause(ctx, 5*time.Millisecond) {
			return condition()
		}
	}
	return true
}

// pause says false when ctx has ended before its time.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
