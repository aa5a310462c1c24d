package libnet

import (
	"context"
	"sync"
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
// waits for the end and counts what is discarded from then on.
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
	stop := context.AfterFunc(ctx, func() { s.cut(reason) })
	s.drain()
	if stop() {
		s.terminate(s.q.failure(reason))
	}
	return s.result(before)
}

// awaitEnd waits for somebody else's closing, and cuts it short when ctx ends.
func (s *Session) awaitEnd(ctx context.Context) (r shutdownResult) {
	before := s.q.discardedCount()
	select {
	case <-s.Done():
	case <-ctx.Done():
		s.cut(s.closedErr())
	}
	return s.result(before)
}

// result waits for the end. before is what had been discarded when the shutdown began.
func (s *Session) result(before uint64) (r shutdownResult) {
	<-s.Done()
	if s.wasCut() {
		r.forced = 1
	}
	r.undelivered = s.q.discardedCount() - before
	r.cause = s.Err()
	return r
}

// drain writes what is queued, half-closes, and waits for the peer's EOF or Linger's end. Meanwhile it
// reads: a peer may have to get rid of what it sends before it reads, too.
func (s *Session) drain() {
	half, ok := s.conn.(interface{ CloseWrite() error })
	ok = ok && s.owner.linger() > 0
	var peerEnded chan struct{}
	if idle := s.q.idle(); idle != nil {
		if ok {
			peerEnded = make(chan struct{})
			go s.dropInput(peerEnded)
		}
		s.wake()
		<-idle
	}
	if !ok || s.q.isClosed() || s.closeWrite(half) != nil {
		return
	}
	if peerEnded == nil {
		peerEnded = make(chan struct{})
		go s.dropInput(peerEnded)
	}
	<-peerEnded
}

// closeWrite is the half-close, from which on Linger runs.
func (s *Session) closeWrite(half interface{ CloseWrite() error }) (err error) {
	defer s.recovered("connection", &err)
	if err := half.CloseWrite(); err != nil {
		return err
	}
	return s.conn.SetReadDeadline(time.Now().Add(s.owner.linger()))
}

// dropInput reads until there is an end of any kind. A receiver that still waits shares the input with
// it: that one drops what it gets, too, and leaves.
func (s *Session) dropInput(ended chan<- struct{}) {
	defer close(ended)
	var err error
	defer s.recovered("connection", &err)
	room := getChunk(chunkSmall)
	defer putChunk(room)
	for empty := 0; err == nil && empty < 100; empty++ {
		var n int
		if n, err = s.conn.Read(room.bytes); n > 0 {
			empty = 0
		}
	}
}

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
