package libnet

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/libnet-go/libnet/internal/sockets"
)

// Bounds of a close, which does not wait for its peer: they only matter when a transport misbehaves.
const (
	// closeNotifyTimeout is about how long a close_notify may wait for room in a peer's window; crypto/tls itself
	// would wait 5 s.
	closeNotifyTimeout = 100 * time.Millisecond

	// flushEnd is how long Close waits for a write that its closing of the conn has interrupted.
	flushEnd = time.Second

	// endAsideTimeout is how long a Send that ends its session waits for that, so that it is seen to have ended where
	// nothing of the user's has to wait for the sender.
	endAsideTimeout = 100 * time.Millisecond
)

// A session's output and its input end separately:
//
//	state          Send     queue       Receive                          entered by                      left by
//	open           queues   is written  waits
//	outputFailed   refuses  discards    what has arrived, then the end   a write that failed             the input's end, Linger, Close
//	closing        refuses  is written  the end                          Shutdown, refusal, peer's end   the queue's end, and the peer's or Linger
//	closed         refuses  discards    the end                          all others, at once
//
// The first step away from open has the reason: it is what Err, Send and Receive answer from then on. Only of closing
// may the end give a better one than ErrSessionClosed or ErrServerClosed, as that the rest was not written. A state
// changes before the queue does, so nobody is refused without a reason. Done and the close callbacks tell of closed.
type sessionState = int32

const (
	sessionOpen sessionState = iota
	sessionOutputFailed
	sessionClosing
	sessionClosed
)

// canReceive reports whether what arrives, or has arrived, is anybody's to receive.
func (s *Session) canReceive() bool {
	switch s.state.Load() {
	case sessionOpen:
		return true
	case sessionOutputFailed:
		return s.hasCodec()
	}
	return false
}

// closedChan is what Done returns once a session has ended and nobody had asked before.
var closedChan = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Close throws away what Send has accepted and not yet written, and ends the session at once: to deliver that first,
// which is what a client that has sent and is done wants, call [Session.Shutdown]. What is thrown away is counted in
// Stats().Discarded, and once a minute a line in the log says so. The connection is closed, the session leaves its
// manager and groups, and the close callbacks run, all before Close returns the error of closing the connection. Of
// several calls one does so; the others return [ErrSessionClosed], perhaps before it is done.
// [Session.ShutdownWithError] is for a last word with a reason.
func (s *Session) Close() error { return s.CloseWithError(ErrSessionClosed) }

// CloseWithError is [Session.Close] with a reason of the caller's, which becomes [Session.Err]; nil
// means ErrSessionClosed. With a reason of the caller's the log says nothing of what is thrown away.
func (s *Session) CloseWithError(reason error) error {
	if reason == nil {
		reason = ErrSessionClosed
	}
	wasOpen, lost := s.state.Load() == sessionOpen, s.q.Counters().Lost()
	closed, err := s.end(reason)
	if !closed {
		return ErrSessionClosed
	}
	if discarded := s.q.Counters().Lost() - lost; wasOpen && reason == ErrSessionClosed && discarded > 0 {
		s.owner.eventLog().discarded(s, discarded)
	}
	return err
}

// Done returns a channel that is closed when the session has ended: nothing more is written, the counters of Stats are
// final, and its manager and groups do not have it any more. Close callbacks may still be running.
//
// Whoever waits for it need not receive: a session whose Done was asked for, in event mode by a handler that is at
// work, also looks for its peer's end itself, every two seconds, on Linux where the connection has a descriptor. It
// ends with io.EOF when nothing lies unread before that end, which nobody can tell over TLS, or when nobody has ever
// received and Config.Linger has passed since it was seen.
func (s *Session) Done() <-chan struct{} {
	s.mustBeMade()
	s.mu.Lock()
	s.watchPeerLocked()
	s.mu.Unlock()
	return s.doneChan()
}

func (s *Session) doneChan() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return closedChan
	}
	e := s.extrasLocked()
	if e.done == nil {
		e.done = make(chan struct{})
	}
	return e.done
}

// fail ends the session after a failed receive and returns the reason. An orderly end of the peer lets
// what is queued go out first.
func (s *Session) fail(err error) error {
	s.q.ReceiverGone()
	if notTLS, ok := err.(tls.RecordHeaderError); ok {
		s.answerInTLS(notTLS)
		err = explainTLS(err)
	}
	switch state := s.state.Load(); {
	case state == sessionOutputFailed:
		s.terminate(err)
		return s.closedErr()
	case state != sessionOpen:
		s.receivedLate()
		return s.closedErr()
	case errorIs(err, net.ErrClosed):
		err = s.closedErr()
	}
	s.endOfPeer(err)
	return s.closedErr()
}

// A loop that ignores the error of its Receive, or Accept, would go round as fast as it can, with all that it logs.
const (
	lateCalls = 1000                  // are answered at once
	latePause = 10 * time.Millisecond // and each of the others after this
)

// receivedLate is for a Receive on a session that had ended before.
func (s *Session) receivedLate() {
	s.mu.Lock()
	e := s.extrasLocked()
	e.late = min(e.late+1, lateCalls+1)
	late := e.late
	s.mu.Unlock()
	if late == lateCalls {
		s.owner.eventLog().calledLate(s.owner.logger(), "Receive goes on being called on a session that has ended: "+
			"leave the loop at its first error", slog.Uint64("session", s.id))
	}
	if late >= lateCalls {
		time.Sleep(latePause)
	}
}

// protocolVersion is a fatal alert (RFC 8446, 6.2) for a peer whose first record is none of TLS: OpenSSL sends the
// same, and crypto/tls none. That of an unexpected message would end in a line feed, and be a message to a peer whose
// framing is lines.
var protocolVersion = []byte{21, 3, 1, 0, 2, 2, 70}

// answerInTLS tells a server's peer which does not speak TLS that this side does. It writes what a kernel's empty
// buffer takes.
func (s *Session) answerInTLS(notTLS tls.RecordHeaderError) {
	below := sockets.Transport(s.conn)
	if s.owner.server == nil || notTLS.Conn == nil || sockets.Of(below) == nil {
		return
	}
	_ = below.SetWriteDeadline(time.Now().Add(lastFrameTimeout))
	if _, err := below.Write(protocolVersion); err == nil {
		sockets.Discard(s.descriptor()) // closed with input unread, the connection would be reset, and the alert lost
	}
}

// endOfPeer ends an open session whose input has, for that reason.
func (s *Session) endOfPeer(err error) {
	if err == io.EOF {
		err = s.endOfInput()
	}
	if err == io.EOF && s.endAfterFlush(err) {
		return
	}
	s.terminate(err)
}

// endOfInput is io.EOF, or what a flush found. The kernel tells of a reset once: when it tells the flush, the
// receiver sees no more than an end, perhaps before the flush has said what it was. Over TLS that is io.EOF, too, where
// it comes between two records.
func (s *Session) endOfInput() error {
	if s.q.Idle() != nil && sockets.Broken(s.descriptor()) {
		s.wake()
		s.awaitFlush()
	}
	return s.q.Failure(io.EOF)
}

// endAfterFlush ends the session once what is queued is written; false if nothing is.
func (s *Session) endAfterFlush(reason error) bool {
	if !s.beginClosing(reason) {
		return false
	}
	idle := s.q.Idle() // nothing more is accepted
	if idle == nil {
		return false
	}
	go s.endWhen(idle, reason)
	return true
}

// endWhen waits for a flush, which WriteTimeout bounds.
func (s *Session) endWhen(idle <-chan struct{}, reason error) {
	s.wake()
	<-idle
	s.terminate(reason)
}

// beginClosing refuses sends from now on; false if the session was not open.
func (s *Session) beginClosing(reason error) bool {
	s.mustBeMade()
	s.mu.Lock()
	if s.state.Load() != sessionOpen {
		s.mu.Unlock()
		return false
	}
	s.state.Store(sessionClosing)
	s.extrasLocked().ended = reason
	s.codecKnownLocked()
	s.mu.Unlock()
	s.endPause()
	s.q.Drain(s.closeFrame(reason))
	return true
}

func (s *Session) terminate(reason error) { _, _ = s.end(reason) }

// cut is terminate for a shutdown whose time is up. It sends no close_notify, so that the
// peer does not take what it got for all there was.
func (s *Session) cut(reason error) { _, _ = s.endWith(reason, true, false) }

func (s *Session) endedOrCut() (ended, cut bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended, s.marks&markCut != 0
}

// isGone reports whether the session has ended.
func (s *Session) isGone() bool {
	ended, _ := s.endedOrCut()
	return ended
}

func (s *Session) end(reason error) (ended bool, err error) { return s.endWith(reason, false, false) }

// endAside is terminate for a caller who may hold a lock that a close callback, the connection, the codec or the logger
// wants: a Send. It waits for no longer than endAsideTimeout.
func (s *Session) endAside(reason error) { _, _ = s.endWith(reason, false, true) }

// endSoon is endAside for a caller who must not wait for the transport either. The session refuses sends at once.
func (s *Session) endSoon(reason error) {
	s.beginClosing(reason)
	go s.terminate(reason)
}

// endWith is the session's end, whatever the reason. One caller gets through. The order: no more sends, no more bytes,
// final counters, which the server has before Done tells of them, no group, and only then the callbacks and the count
// of open sessions. With aside, the user's callbacks run on a goroutine of their own.
func (s *Session) endWith(reason error, cut, aside bool) (ended bool, err error) {
	s.mustBeMade()
	s.mu.Lock()
	was := s.state.Load()
	if was == sessionClosed {
		s.mu.Unlock()
		return false, nil
	}
	s.state.Store(sessionClosed)
	e := s.extrasLocked()
	if e.ended == nil || was == sessionClosing && (e.ended == ErrSessionClosed || e.ended == ErrServerClosed) {
		e.ended = reason // else it has been told already
	}
	reason = e.ended
	if cut {
		s.marks |= markCut
	}
	s.codecKnownLocked()
	codecMade := s.making == codecMade
	s.clock.stop()
	s.mu.Unlock()

	s.endPause()
	s.q.Close()
	rest := &settling{session: s, codecMade: codecMade, cut: cut, reason: reason, aside: aside}
	if aside {
		within(endAsideTimeout, func() { _ = rest.run() })
		return true, nil
	}
	return true, rest.run()
}

// closeDone returns the user's callbacks, which are to run now: those and what was registered meanwhile.
func (s *Session) closeDone(rest *settling, callbacks []*callback) []*callback {
	s.mu.Lock()
	defer s.mu.Unlock()
	callbacks = append(callbacks, s.takeCallbacksLocked()...)
	s.running = len(callbacks) > 0 || !rest.isClosed()
	if srv := s.owner.server; srv != nil && s.running {
		srv.running.Add(1)
	}
	s.ended = true
	if done := s.extrasLocked().done; done != nil {
		close(done)
	}
	return callbacks
}
