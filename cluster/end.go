package cluster

import (
	"context"
	"time"

	"github.com/libnet-go/libnet"
)

const (
	// lastWait is how long a session that is ended here waits for its peer to end its side once its queue is written.
	lastWait = time.Second / 2

	writtenTick = 20 * time.Millisecond // how often an ending session's queue is looked at
)

// end ends a session with what is queued for it. It does not wait: the peer may be slow, and close callbacks may block.
func (n *Node) end(s *libnet.Session, reason error) {
	ctx, cancel := context.WithTimeout(context.Background(), n.farewell)
	go func() {
		defer cancel()
		_ = s.ShutdownWithError(ctx, reason)
	}()
	go func() {
		defer cancel()
		if awaitWritten(ctx, s) {
			pause(ctx, lastWait)
		}
	}()
}

// awaitWritten waits until s has written its queue, and is false when ctx ended first.
func awaitWritten(ctx context.Context, s *libnet.Session) bool {
	for s.Stats().Queued > 0 {
		if !pause(ctx, writtenTick) {
			return false
		}
	}
	return ctx.Err() == nil
}

// pause is false when ctx ended first.
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
