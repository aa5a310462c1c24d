package libnet

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/libnet-go/libnet/internal/lock"
	"github.com/libnet-go/libnet/internal/readbuf"
	"github.com/libnet-go/libnet/internal/sendqueue"
	"github.com/libnet-go/libnet/internal/sockets"
)

const (
	// drainLimit is how many bytes of a peer that goes on sending Shutdown reads and drops. Such a peer does not wait
	// for the end, so there is no use in sparing it the reset.
	drainLimit = 16 << 20

	// cutPatience is how long a Shutdown whose context has ended waits for the sessions it cuts off. It only
	// matters when closing a connection takes its time.
	cutPatience = 300 * time.Millisecond
)

// Shutdown ends the session without losing what Send has accepted: further sends answer [ErrSessionClosed], the queue
// is written, the connection is half-closed so that the peer sees EOF behind the last message, and is closed when the
// peer ends its side too or Config.Linger has passed. What the peer sends meanwhile, 16 MiB of it at most, is read,
// dropped, and counted in Stats().Dropped: left unread, it would make the kernel reset the connection and the peer lose
// what it had been sent.
//
// Shutdown returns nil when everything was written and the close callbacks have run, and a [*ShutdownError] when ctx
// ended first, or the connection failed, with messages undelivered. It does not outlive ctx, whatever the
// connection or a callback does, but for 0.3 s that a session may take to be cut off. On a session that is closed, or
// closing elsewhere, it waits for the end and counts what is discarded from then on.
func (s *Session) Shutdown(ctx context.Context) error {
	return s.ShutdownWithError(ctx, ErrSessionClosed)
}

// ShutdownWithError is [Session.Shutdown] with a reason of the caller's, which becomes [Session.Err]; nil means
// ErrSessionClosed. Send and then ShutdownWithError is a last word: the message arrives, and the reason is known.
func (s *Session) ShutdownWithError(ctx context.Context, reason error) error {
	if reason == nil {
		reason = ErrSessionClosed
	}
	ctx = sendqueue.NewContext(ctx)
	return s.shutdownWhole(ctx, reason).asError(ctx)
}

// shutdownResult is what a shutdown left undone.
type shutdownResult struct {
	undelivered uint64
	forced      int
	running     int   // see ShutdownError
	cause       error // why, if not for the context
}

func (r shutdownResult) asError(ctx context.Context) error {
	if r.undelivered == 0 && r.forced == 0 && r.running == 0 {
		return nil
	}
	cause := r.cause
	if err := ctx.Err(); err != nil && (r.forced > 0 || r.running > 0) {
		cause = err
	}
	return &ShutdownError{Undelivered: r.undelivered, Forced: r.forced, Running: r.running, Err: cause}
}

// shutdownWhole is shutdown that waits for the close callbacks, too, if this call is what runs them.
func (s *Session) shutdownWhole(ctx context.Context, reason error) shutdownResult {
	r, ended := s.shutdown(ctx, reason)
	if ended == nil {
		return r
	}
	select {
	case <-ended:
	case <-ctx.Done():
	}
	if ctx.Err() != nil && s.isRunning() { // also where both are over: which of them is seen, chance decides
		r.running = 1
	}
	return r
}

// shutdown begins the closing, if nobody has, and waits for the end. The channel, nil where somebody else does the
// work, is closed when the callbacks have run.
func (s *Session) shutdown(ctx context.Context, reason error) (r shutdownResult, ended <-chan struct{}) {
	return s.shutdownSince(ctx, reason, s.q.Counters().Lost())
}

// shutdownSince counts what is lost beyond before.
func (s *Session) shutdownSince(ctx context.Context, reason error, before uint64) (r shutdownResult, ended <-chan struct{}) {
	began, patience := time.Now(), cutPatience
	if s.beginClosing(reason) {
		ended = s.startDelivery(reason)
	}
	if ctx.Err() != nil { // the reason, which is the user's, may have been asked for a close frame
		patience -= time.Since(began)
	}
	select {
	case <-s.doneChan():
	case <-ctx.Done():
		go s.cut(s.closedErr())
		closedWithin(s.doneChan(), patience)
	}
	return s.result(before), ended
}

// startDelivery has a goroutine do what follows once the session refuses sends. Whoever waits for it may give up.
func (s *Session) startDelivery(reason error) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.deliver(reason)
	}()
	return ended
}

// deliver ends a session that refuses sends, after what is queued. WriteTimeout and Linger bound it.
func (s *Session) deliver(reason error) {
	defer func() { s.terminate(s.q.Failure(reason)) }() // deferred: a conn of the user's may end the goroutine
	s.awaitThaw()
	s.drain()
}

// result says what became of what had been accepted. before is what had been lost when the shutdown began. Of a
// session that is still being cut off, what is queued will not be written.
func (s *Session) result(before uint64) (r shutdownResult) {
	ended, cut := s.endedOrCut()
	c := s.q.Counters()
	if cut || !ended {
		r.forced = 1
	}
	r.undelivered = c.Lost() + uint64(c.Messages-c.Own) - before
	r.cause = s.Err()
	return r
}

// handlerReturned delivers what is queued, and returns when the session has ended. Nobody receives any more.
func (s *Session) handlerReturned() {
	switch {
	case s.beginClosing(ErrSessionClosed):
		s.deliver(ErrSessionClosed)
	case s.state.Load() == sessionOutputFailed:
		s.terminate(ErrSessionClosed)
	}
	<-s.doneChan()
}

// shutdownServed is shutdown for a session whose handler may be at work on a message: the handler first
// gets to send its reply, for at most the given time.
func (s *Session) shutdownServed(ctx context.Context, reason error, patience time.Duration) shutdownResult {
	before := s.q.Counters().Lost()
	if yielded := s.askReceiver(reason); yielded != nil {
		bound := time.NewTimer(patience)
		defer bound.Stop()
		select {
		case <-yielded:
		case <-s.doneChan():
		case <-ctx.Done():
		case <-bound.C:
		}
	}
	r, _ := s.shutdownSince(ctx, reason, before)
	return r
}

// drain writes what is queued, half-closes, and waits for the peer's EOF or Linger's end: a little longer for a conn
// that does not keep to its deadline. Meanwhile it reads: a peer may have to get rid of what it sends before it reads,
// too. A conn that cannot end its output alone is read until the queue is written.
func (s *Session) drain() {
	reads := s.conn != nil && s.owner.linger() > 0
	var half sockets.CloseWriter
	if reads {
		half = sockets.HalfClose(s.conn)
	}
	if s.sock != nil {
		_ = s.conn.SetReadDeadline(time.Time{}) // of interruptAsked
	}
	var peerEnded chan struct{}
	if idle := s.q.Idle(); idle != nil {
		if reads {
			peerEnded = make(chan struct{})
			go s.dropInput(peerEnded)
		}
		s.wake()
		<-idle
	}
	if half == nil || s.q.IsClosed() {
		return
	}
	s.awaitPeersEnd(half, peerEnded)
}

// awaitPeersEnd half-closes and waits for the peer's EOF, of which peerEnded tells if somebody reads already. Linger
// bounds both: a close_notify may find no room, and a conn not keep to its deadline, which only matters behind it.
func (s *Session) awaitPeersEnd(half sockets.CloseWriter, peerEnded chan struct{}) {
	linger := s.owner.linger()
	until := time.Now().Add(linger)
	var halfClosed atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if s.closeWrite(half, until) != nil {
			return
		}
		halfClosed.Store(true)
		if peerEnded == nil {
			peerEnded = make(chan struct{})
			s.dropInput(peerEnded)
		}
		<-peerEnded
	}()
	if !closedWithin(ended, linger) && halfClosed.Load() {
		closedWithin(ended, flushEnd)
	}
}

// closeWrite is the half-close; from then on the peer may send until that time. A conn without deadlines is read all
// the same: its close ends that.
func (s *Session) closeWrite(half sockets.CloseWriter, until time.Time) (err error) {
	defer s.recovered("connection", &err)
	if err := half.CloseWrite(); err != nil {
		return err
	}
	_ = s.conn.SetReadDeadline(until)
	return nil
}

// dropInput reads until there is an end of any kind. A receiver that still waits shares the input with
// it: that one drops what it gets, too, and leaves.
func (s *Session) dropInput(ended chan<- struct{}) {
	defer close(ended)
	var err error
	defer s.recovered("connection", &err)
	if s.sock != nil {
		s.sock.Unblock()
	}
	var dropped readbuf.Buffer
	defer dropped.Release()
	space := dropped.Space(0)
	for empty, total := 0, 0; err == nil && empty < 100 && total < drainLimit; empty++ {
		var n int
		if n, err = s.readConn(space); n > len(space) {
			return // a conn of the user's has said so
		}
		if n > 0 {
			empty = 0
			total += n
			s.noteDropped(n)
		}
	}
}

// Shutdown shuts all sessions down as [Session.Shutdown] does, all at once, and takes no new ones.
// It returns nil, or a [*ShutdownError] that adds up what was not delivered.
func (m *Manager) Shutdown(ctx context.Context) error {
	ctx = sendqueue.NewContext(ctx)
	m.dispose()
	return m.shutdown(m.All(), func(s *Session) shutdownResult { return s.shutdownWhole(ctx, ErrSessionClosed) }).asError(ctx)
}

// resultLock is the class of the lock over what sessions left undelivered.
type resultLock struct{}

func (m *Manager) shutdown(sessions iter.Seq[*Session], one func(*Session) shutdownResult) (sum shutdownResult) {
	var wg sync.WaitGroup
	var mu lock.Mutex[resultLock]
	for s := range sessions {
		wg.Go(func() {
			r := one(s)
			mu.Lock()
			defer mu.Unlock()
			sum.undelivered += r.undelivered
			sum.forced += r.forced
			sum.running += r.running
			if (r.undelivered > 0 || r.forced > 0) && sum.cause == nil {
				sum.cause = r.cause
			}
		})
	}
	wg.Wait()
	return sum
}

// An extras is what an open session seldom needs: one that has a name, whose end somebody waits for or has asked for,
// or that has dropped what arrived.
type extras struct {
	// Of a session whose conn has no descriptor of its own. Immutable.
	below   syscall.RawConn // of what the conn runs on; nil if there is none
	reading chan struct{}   // of one place, taken by the one who reads

	// Guarded by the session's mu.
	ended   error         // why the session has; nil while it is open
	done    chan struct{} // made by the first Done; closed by terminate
	made    chan struct{} // closed when the codec's making has ended, or the session refuses sends; nil while nobody waits for that
	name    string
	dropped uint64 // bytes
	late    int    // calls of Receive after the end, as far as they are counted

	// A server's request to shut the session down once its handler has answered the message it
	// works on; the receiver grants it when it comes back for the next one.
	reason  error
	granted chan struct{} // closed by the receiver once it has begun the closing; nil while nobody has asked

	freezing *freezing // nil but while the session is to move to another process
}

func (s *Session) extrasLocked() *extras {
	if s.extras == nil {
		s.extras = new(extras)
	}
	return s.extras
}

// askReceiver returns a channel that is closed when the receiver has begun the closing, or turns out not to be at work;
// nil when that is known at once. Who asks second waits for the same.
func (s *Session) askReceiver(reason error) <-chan struct{} {
	asked, first := s.yieldRequest(reason)
	s.endPause()
	switch {
	case !first:
	case s.mayHaveRead():
		s.interruptAsked()
	case !s.atWork() && s.yieldAsked.CompareAndSwap(true, false):
		close(asked) // it may have gone to wait without noticing
	}
	return asked
}

// mayHaveRead reports whether a receiver that says it waits is to be asked all the same: with Server.ServeArrived it
// may hold what it has just read.
func (s *Session) mayHaveRead() bool {
	return s.servesArrived() && !s.serving.Started() && s.canInterrupt() && s.q.Receiver() != sendqueue.ReceiverAbsent
}

// interruptAsked has a receiver that waits look at yieldAsked. Nothing is interrupted that reads once the closing has
// begun.
func (s *Session) interruptAsked() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Load() == sessionOpen && s.yieldAsked.Load() {
		s.interruptReceiver()
	}
}

func (s *Session) yieldRequest(reason error) (asked chan struct{}, first bool) {
	idle := !s.serving.Started() && !s.mayHaveRead() && !s.atWork()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Load() != sessionOpen || idle {
		return nil, false
	}
	e := s.extrasLocked()
	if e.granted != nil {
		return e.granted, false
	}
	e.reason, e.granted = reason, make(chan struct{})
	s.yieldAsked.Store(true)
	return e.granted, true
}

// atWork reports whether the receiver is sure to look at yieldAsked. In event mode the read that somebody is about to
// do says so, too: he looks again. The input comes first: who takes it from behind that look is seen to be at work by
// the others.
func (s *Session) atWork() bool {
	pending := s.inputPending()
	looksAgain, receiver := s.serving.LookAgain(), s.q.Receiver()
	return pending || looksAgain || receiver >= sendqueue.ReceiverActive ||
		receiver == sendqueue.ReceiverPaused && s.servesArrived() // with what it holds
}

// yieldNow begins the closing that was asked for; false if nobody has asked, or somebody else has begun one. With
// Server.ServeArrived it waits until all that has arrived is received.
func (s *Session) yieldNow() bool {
	if f := s.freezing(); f != nil {
		return s.freeze(f)
	}
	if s.inputPending() || !s.yieldAsked.CompareAndSwap(true, false) {
		return false
	}
	s.mu.Lock()
	e := s.extras
	s.mu.Unlock()
	if !s.beginClosing(e.reason) {
		return false
	}
	close(e.granted)
	s.dropUnread()
	s.startDelivery(e.reason)
	return true
}

// mustYield is yieldNow for a receiver that has perhaps read more messages: with Server.ServeArrived it goes on.
func (s *Session) mustYield() bool {
	return s.yieldAsked.Load() && s.stopsHere() && s.yieldNow()
}

// stopsHere reports whether a receiver that was asked to stop does so before the next message, where more has arrived.
func (s *Session) stopsHere() bool { return !s.servesArrived() || s.freezing() != nil }

func (s *Session) servesArrived() bool {
	srv := s.owner.server
	return srv != nil && srv.ServeArrived
}

// inputPending reports whether a server that shuts down is to let the session read more.
func (s *Session) inputPending() bool {
	return s.servesArrived() && s.sock != nil && (s.sock.HoldsInput() || sockets.HasInput(s.descriptor()))
}

// noteDropped counts bytes that nobody will receive, until the counters are final.
func (s *Session) noteDropped(n int) {
	if n <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noteDroppedLocked(n)
}

func (s *Session) noteDroppedLocked(n int) {
	if n > 0 && s.marks&markCounted == 0 {
		s.extrasLocked().dropped += uint64(n)
	}
}

func (s *Session) droppedBytes() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.extras == nil {
		return 0
	}
	return s.extras.dropped
}
