package libnet

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// Shutdown ends the session without losing what Send has accepted: further sends answer
// [ErrSessionClosed], the queue is written, the connection is half-closed so that the peer sees EOF
// behind the last message, and is closed when the peer ends its side too or Config.Linger has passed.
// What the peer sends meanwhile is read and dropped: left unread, it would make the kernel reset the
// connection and the peer lose what it had been sent.
//
// Shutdown returns nil when everything was written, and a [*ShutdownError] when ctx ended first, or the
// connection failed, with messages undelivered. On a session that is closed, or closing elsewhere, it
// waits for the end and returns nil.
func (s *Session) Shutdown(ctx context.Context) error {
	return s.shutdown(ctx, ErrSessionClosed).asError(ctx)
}

// shutdownResult is what a shutdown left undone.
type shutdownResult struct {
	undelivered uint64
	forced      int
	cause       error // why, if not for the context
}

func (r shutdownResult) asError(ctx context.Context) error {
	if r.undelivered == 0 && r.forced == 0 {
		return nil
	}
	cause := r.cause
	if r.forced > 0 {
		cause = ctx.Err()
	}
	return &ShutdownError{Undelivered: r.undelivered, Forced: r.forced, Err: cause}
}

func (s *Session) shutdown(ctx context.Context, reason error) (r shutdownResult) {
	if !s.beginClosing(reason) {
		return s.awaitEnd(ctx)
	}
	return s.deliver(ctx, reason)
}

// shutdownServed is shutdown for a session whose handler may be at work on a message: the handler first
// gets to send its reply, for at most the given time.
func (s *Session) shutdownServed(ctx context.Context, reason error, patience time.Duration) shutdownResult {
	yielded := s.askReceiver(reason)
	if yielded == nil {
		return s.shutdown(ctx, reason)
	}
	bound := time.NewTimer(patience)
	defer bound.Stop()
	select {
	case <-yielded:
		return s.deliver(ctx, reason)
	case <-s.Done():
	case <-ctx.Done():
	case <-bound.C:
	}
	return s.shutdown(ctx, reason)
}

// deliver is what follows once the session refuses sends.
func (s *Session) deliver(ctx context.Context, reason error) (r shutdownResult) {
	before := s.q.discardedCount()
	var forced atomic.Bool
	stop := context.AfterFunc(ctx, func() {
		if ended, _ := s.end(reason); ended {
			forced.Store(true)
		}
	})
	if s.drain() {
		s.awaitPeer()
	}
	if stop() {
		s.terminate(reason)
	}
	<-s.Done()
	if forced.Load() {
		r.forced = 1
	}
	r.undelivered = s.q.discardedCount() - before
	r.cause = s.Err()
	return r
}

// awaitEnd waits for somebody else's closing, and cuts it short when ctx ends.
func (s *Session) awaitEnd(ctx context.Context) (r shutdownResult) {
	select {
	case <-s.Done():
		return r
	default:
	}
	select {
	case <-s.Done():
	case <-ctx.Done():
		before := s.q.discardedCount()
		if ended, _ := s.end(s.closedErr()); ended {
			r.forced = 1
		}
		<-s.Done()
		r.undelivered = s.q.discardedCount() - before
	}
	return r
}

// drain writes what is queued; false if the session ended first.
func (s *Session) drain() bool {
	if idle := s.q.idle(); idle != nil {
		s.wake()
		<-idle
	}
	return !s.q.isClosed()
}

// awaitPeer half-closes and reads until the peer's EOF, Linger's end, or the session's.
func (s *Session) awaitPeer() {
	half, ok := s.conn.(interface{ CloseWrite() error })
	if !ok || s.owner.linger() == 0 {
		return
	}
	// The deadline sends a receiver away that waits; it then answers that the session is closed.
	_ = s.conn.SetReadDeadline(time.Unix(1, 0))
	if half.CloseWrite() != nil {
		return
	}
	_ = s.conn.SetReadDeadline(time.Now().Add(s.owner.linger()))
	_, _ = io.Copy(io.Discard, onlyReader{s.conn})
}

// onlyReader keeps io.Copy from methods that would read through a pipe or a file.
type onlyReader struct{ io.Reader }

// Shutdown shuts all sessions down as [Session.Shutdown] does, all at once, and takes no new ones.
// It returns nil, or a [*ShutdownError] that adds up what was not delivered.
func (m *Manager) Shutdown(ctx context.Context) error {
	m.dispose()
	return m.shutdown(ctx, func(s *Session) shutdownResult { return s.shutdown(ctx, ErrSessionClosed) })
}

func (m *Manager) shutdown(ctx context.Context, one func(*Session) shutdownResult) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var sum shutdownResult
	for s := range m.All() {
		wg.Go(func() {
			r := one(s)
			mu.Lock()
			defer mu.Unlock()
			sum.undelivered += r.undelivered
			sum.forced += r.forced
			if r.undelivered > 0 && sum.cause == nil {
				sum.cause = r.cause
			}
		})
	}
	wg.Wait()
	return sum.asError(ctx)
}
