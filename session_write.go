package libnet

import (
	"io"
	"net"
	"os"
	"time"

	"github.com/libnet-go/libnet/internal/sendqueue"
	"github.com/libnet-go/libnet/internal/sockets"
)

// outputFailed ends the output of a session for a flush that is the caller's and cannot go on; it returns the reason.
// What has arrived from the peer is still to be received, for Linger at most: see sessionState. It does not wait, and
// calls nothing of the user's in the caller, who may hold locks.
func (s *Session) outputFailed(err error) error {
	rest, reason := s.failOutput(err)
	if rest != nil {
		go rest(s.terminate)
	}
	return reason
}

// ownOutputFailed is outputFailed for a Send that writes itself: nothing is left to do when it returns but to run close
// callbacks, unless a conn of the user's keeps who looks for input.
func (s *Session) ownOutputFailed(err error) error {
	rest, reason := s.failOutput(err)
	if rest != nil {
		within(arrivedWait+endAsideTimeout, func() { rest(s.endAside) })
	}
	return reason
}

// failOutput returns what is left to do, which may end the session with what it is given, nil for nothing; and the
// reason.
func (s *Session) failOutput(err error) (rest func(end func(error)), reason error) {
	if err == sendqueue.ErrClosed {
		return nil, s.closedErr() // somebody else ended it
	}
	reason = s.writeError(err)
	first := s.endOutput(reason)
	s.q.Fail(reason)
	if !first {
		return nil, reason
	}
	switch s.leaveInput(reason) {
	case inputEnded:
		rest = func(end func(error)) { end(reason) }
	case inputUnknown:
		rest = s.lookForInput
	}
	return rest, reason
}

// endOutput refuses sends from now on; false if the session was not open: then somebody waits for the flush to end it.
func (s *Session) endOutput(reason error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Load() != sessionOpen {
		return false
	}
	s.extrasLocked().ended = reason
	s.state.Store(sessionOutputFailed)
	return true
}

// What is known of the input of a session whose output has failed.
type inputLeft uint8

const (
	inputEnded   inputLeft = iota // nothing is left to receive
	inputUnknown                  // lookForInput tells
	inputOpen                     // the receiver comes to its end
)

// leaveInput leaves a session whose output has failed to its receiver, and interrupts one that waits.
func (s *Session) leaveInput(reason error) inputLeft {
	linger := s.owner.linger()
	if s.conn == nil || linger == 0 || errorIs(reason, ErrPanic) {
		return inputEnded
	}
	s.giveUpIn(linger)
	switch s.q.Receiver() {
	case sendqueue.ReceiverAbsent: // but it may come
		switch {
		case s.sock != nil:
			return openIf(sockets.HasInput(s.descriptor()))
		case errorIs(reason, ErrWriteTimeout): // it has had the time
			return inputEnded
		}
		return inputUnknown
	case sendqueue.ReceiverWaiting:
		if s.serving.Started() { // then the poller is told of an end, but not of a peer that does not read
			return openIf(!errorIs(reason, ErrWriteTimeout) || sockets.HasInput(s.descriptor()))
		}
		return openIf(s.interruptReceiver())
	}
	return inputOpen
}

func openIf(open bool) inputLeft {
	if open {
		return inputOpen
	}
	return inputEnded
}

// interruptReceiver has a read that waits return; false if the conn cannot. One that has been closed, as a net.Pipe
// says also when only its peer has, has the read return by itself.
func (s *Session) interruptReceiver() (can bool) {
	defer func() { _ = recover() }() // of a conn of the user's
	err := s.conn.SetReadDeadline(longAgo)
	return err == nil || errorIs(err, io.ErrClosedPipe) || errorIs(err, net.ErrClosed)
}

// lookForInput ends a session whose output has failed and whose input has come to its end, too. It reads for a receiver
// that has not come yet, and does not wait: that one may come, and wait for it in turn.
func (s *Session) lookForInput(end func(error)) {
	if s.inputWaits() || !s.recvMu.TryLock() { // or somebody reads already, perhaps the caller
		return
	}
	var err error
	defer func() {
		if r := recover(); r != nil {
			err = s.panicked("connection", r)
		}
		s.recvMu.Unlock()
		if err != nil {
			end(err)
		}
	}()
	if !s.canReceive() || !s.in.Empty() {
		return
	}
	n, err := s.readArrived()
	if n > 0 {
		s.took(n)
		err = nil
	} else if err == nil {
		err = io.ErrNoProgress
	}
}

// writeError is the reason that a failed write gives the session.
func (s *Session) writeError(err error) error {
	switch {
	case errorIs(err, net.ErrClosed):
		return s.closedErr()
	case errorIs(err, os.ErrDeadlineExceeded):
		return ErrWriteTimeout
	}
	return explainTLS(err)
}

// writeNow writes to the descriptor what the kernel takes at once. Its variables are few: it is the deepest call of a
// Send, and what a stack has once grown to a waiting session keeps.
func (s *Session) writeNow(p []byte) (n int, err error) {
	if s.sock.Layered() {
		return s.writeLayered(p)
	}
	if n, err = s.sock.Write(p); err != nil {
		err = afterDeadline(err)
	}
	return n, err
}

// afterDeadline is nil for a deadline of whoever wants the queue: who may wait looks after it.
func afterDeadline(err error) error {
	if errorIs(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

func (s *Session) writeLayered(p []byte) (n int, err error) {
	err = errGoroutineEnded
	defer s.layerReturned(&err)
	return s.sock.Write(p)
}

// writeReady writes what the kernel takes of b at once, and returns what to write next.
func (s *Session) writeReady(b *sendqueue.Batch) (next *sendqueue.Batch, err error) {
	n, err := s.writeNow(b.Rest())
	next, closed := s.q.Wrote(b, n)
	if err == nil {
		err = closed
	}
	return next, err
}

// writeWaiting writes what is left of b, waiting for the peer as long as it makes progress, and returns
// what to write next.
func (s *Session) writeWaiting(b *sendqueue.Batch) (next *sendqueue.Batch, err error) {
	if s.conn == nil {
		return s.writeBare(b)
	}
	switch {
	case s.sock == nil && s.secure():
		return s.writeGuarded(b)
	case s.sock != nil:
		if err := s.awaitHandshake(); err != nil {
			return b, err
		}
		if s.takesPieces(b) {
			break
		}
		if next, err = s.writeReady(b); next != b || err != nil {
			return next, err
		}
	}
	return s.writeWithin(b, s.owner.writeTimeout())
}

// takesPieces reports whether one writev does for all pieces of b.
func (s *Session) takesPieces(b *sendqueue.Batch) bool {
	return b.IsScattered() && s.sock != nil && !s.sock.Layered()
}

// awaitHandshake waits for the end of a handshake that somebody else does, for WriteTimeout at most. Where nobody has
// begun it, as where a handler only sends, it is done on a goroutine of its own, which ends with the connection at the
// latest.
func (s *Session) awaitHandshake() error {
	if s.sock.AwaitsUse() {
		go s.callHandshake()
	}
	if over := s.sock.PendingHandshake(); over != nil && !closedWithin(over, s.owner.writeBound()) {
		return ErrWriteTimeout
	}
	return nil
}

// writeWithin is writeWaiting with a deadline, which a write that the kernel takes at once does without.
func (s *Session) writeWithin(b *sendqueue.Batch, timeout time.Duration) (next *sendqueue.Batch, err error) {
	defer s.recovered("connection", &err)
	wait, again := timeout, false
	unsent := s.unsent()
	mayWait := s.takesPieces(b) // else the kernel has just taken less
	switch {
	case s.sock == nil:
		defer s.whileWriting(b.Unwritten(), unsent)()
	case mayWait:
		wait = s.slowAfter(timeout)
	default:
		s.peerIsSlow()
	}
	for {
		deadline := time.Now().Add(wait)
		n, err := s.writeBefore(b, deadline, wait > 0)
		next, closed := s.q.Wrote(b, n)
		if closed != nil || next != b {
			if errorIs(err, ErrPanic) {
				go s.terminate(err)
			}
			return next, closed
		}
		switch {
		case err == nil:
		case !errorIs(err, os.ErrDeadlineExceeded):
			return b, err
		case s.sock != nil && (wait == 0 || time.Now().Before(deadline)): // it was interrupted for a Hold, which has been taken back
			_ = s.noWriteDeadline()
		case mayWait: // and does
			s.peerIsSlow()
			wait, mayWait = timeout, false
		case n > 0 || s.kernelMoved(&unsent):
			wait, again = timeout, false
		case !again && (s.sock != nil || time.Since(deadline) > starvation):
			// The kernel has a socket wait for a third of its buffer and more, and this process may have been
			// away: a write may find room though none was announced. One look tells.
			wait, again = min(timeout, lookAgain), true
		default:
			return b, err
		}
	}
}

// lookAgain is how long the last look of a write waits whose time is up.
const lookAgain = time.Millisecond

// noDeadline is how many times WriteTimeout a write gets on a conn that takes no notice of its deadline: so many that
// it cannot be this process that was away.
const noDeadline = 10

// writeBefore writes once. It takes the deadline back: after q.Wrote the conn may be another flush's.
func (s *Session) writeBefore(b *sendqueue.Batch, deadline time.Time, bounded bool) (int, error) {
	if !bounded {
		return s.writeSome(b)
	}
	if s.sock == nil { // it may take no notice of a deadline
		patience := noDeadline * min(s.owner.writeTimeout(), maxDuration/noDeadline)
		late := time.AfterFunc(patience, func() { s.terminate(ErrWriteTimeout) })
		defer late.Stop()
	}
	_ = s.conn.SetWriteDeadline(deadline)
	n, err := s.writeSome(b)
	if after := s.noWriteDeadline(); err == nil {
		err = after
	}
	return n, err
}

// noWriteDeadline returns no error but of a panic: what was written then is written.
func (s *Session) noWriteDeadline() (err error) {
	defer s.recovered("connection", &err)
	_ = s.conn.SetWriteDeadline(time.Time{})
	return nil
}

// kernelMoved reports whether bytes have left the kernel's send buffer, or entered it, since unsent was noted: then the
// peer reads, however slowly.
func (s *Session) kernelMoved(unsent *int) bool {
	now := s.unsent()
	moved := now != *unsent
	*unsent = now
	return moved
}

// tlsRecord is the largest payload of a TLS record (RFC 8446, 5.1).
const tlsRecord = 16 << 10

// writeSome is one waiting write. crypto/tls on a conn that waits cannot go on after a deadline, so progress there is
// measured by the record. Only a socket gets all pieces at a time: of another conn, net.Buffers would
// not notice a short write and go on with the next piece.
func (s *Session) writeSome(b *sendqueue.Batch) (int, error) {
	if s.sock != nil {
		s.sock.Unblock()
	}
	if s.takesPieces(b) {
		pieces := b.Pieces()
		sockets.RaceSend() // of which package net does not tell the race detector
		n, err := pieces.WriteTo(s.conn)
		return int(n), err
	}
	p := b.Rest()
	if s.sock == nil && s.secure() {
		p = p[:min(len(p), tlsRecord)]
	}
	n, err := s.conn.Write(p[:len(p):len(p)]) // a conn of the user's may append to it: behind it lie other frames, or other sessions' memory
	if n < 0 || n > len(p) || n == 0 && len(p) > 0 && err == nil {
		return 0, io.ErrShortWrite // it would be asked again for ever
	}
	return n, err
}

// secure reports whether there is another conn below: not by comparing the two, of which one may be of a type that
// cannot be.
func (s *Session) secure() bool {
	_, ok := s.conn.(interface{ NetConn() net.Conn })
	return ok
}

// writeBare sends the messages of a session made from a bare codec. One that cannot be encoded is
// counted as discarded: its Send has returned already.
func (s *Session) writeBare(b *sendqueue.Batch) (next *sendqueue.Batch, err error) {
	for next = b; next == b && err == nil; {
		sent := s.codecSend(b.Message())
		if sent != nil && !notWritten(sent) {
			return b, sent
		}
		next, err = s.q.Gave(b, sent == nil)
	}
	return next, err
}
