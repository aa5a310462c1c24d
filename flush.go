package libnet

import (
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// wakeUp says who is to write what was queued.
type wakeUp uint8

const (
	wakeNobody  wakeUp = iota // a flush is under way and will see it
	wakeSender                // the caller, at once
	wakeLater                 // the receiver, before it waits; the flusher looks after it
	wakeFlusher               // the flusher, at once
	wakeLoop                  // a send loop of the session's own
)

// wake sees to it that what was queued is written.
func (s *Session) wake() {
	s.q.mu.Lock()
	w := s.wakeLocked()
	s.q.mu.Unlock()
	s.wakeBy(w)
}

// wakeLocked begins the flush that wakeBy then has carried out.
func (s *Session) wakeLocked() wakeUp {
	q, f := &s.q, s.owner.flusher
	switch {
	case !q.flushableLocked():
		return wakeNobody
	case f != nil && q.state == queueOpen && !q.away && s.receiver.Load() >= receiverActive:
		if s.sock != nil && s.receiver.CompareAndSwap(receiverLast, receiverReplied) {
			q.flushing = true
			return wakeSender
		}
		if q.deferred {
			return wakeNobody
		}
		q.deferred = true
		return wakeLater
	}
	q.flushing = true
	if f != nil && s.sock != nil {
		return wakeFlusher
	}
	return wakeLoop
}

func (s *Session) wakeBy(w wakeUp) {
	switch w {
	case wakeSender:
		s.flushReady(s.q.take())
	case wakeLater:
		s.owner.flusher.flushLater(s)
	case wakeFlusher:
		s.owner.flusher.flush(s)
	case wakeLoop:
		go s.sendLoop()
	}
}

// sendLoop writes until the queue is empty. It waits for a slow peer, so it has a goroutine of its own.
// Whoever starts it has begun the flush.
func (s *Session) sendLoop() {
	b, err := s.q.take(), error(nil)
	for b != nil && err == nil {
		b, err = s.writeWaiting(b)
	}
	if err != nil {
		_ = s.flushFailed(err)
	}
}

// flushReady writes b, which was taken from the queue, and what follows it until the queue is empty. It does not wait: what the
// kernel does not take at once it leaves to a send loop. A receiver must not wait for a peer that may itself be waiting to be
// read from.
func (s *Session) flushReady(b *batch) {
	for b != nil {
		left := len(b.rest())
		n, err := s.sock.write(b.rest())
		next, closed := s.q.wrote(b, n)
		switch {
		case err != nil:
			_ = s.flushFailed(err)
			return
		case closed != nil:
			return
		case next == b && n < left:
			go s.sendLoop()
			return
		}
		b = next
	}
}

// flushFailed ends the session whose flush failed, and returns the reason. The session is closing before its queue refuses: who is
// refused can learn why. The caller may hold a lock that a close callback wants.
func (s *Session) flushFailed(err error) error {
	if err == errQueueClosed {
		return s.closedErr()
	}
	err = s.writeError(err)
	s.beginClosing(err)
	s.q.fail(err)
	go s.terminate(err)
	return err
}

// writeError is the reason that a failed write gives the session.
func (s *Session) writeError(err error) error {
	switch {
	case errors.Is(err, net.ErrClosed):
		return s.closedErr()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ErrWriteTimeout
	}
	return err
}

// writeReady writes what the kernel takes of b at once, and returns what to write next.
func (s *Session) writeReady(b *batch) (next *batch, err error) {
	n, err := s.sock.write(b.rest())
	next, closed := s.q.wrote(b, n)
	if err == nil {
		err = closed
	}
	return next, err
}

// writeWaiting writes what is left of b, waiting for the peer as long as it makes progress, and returns
// what to write next.
func (s *Session) writeWaiting(b *batch) (next *batch, err error) {
	if s.conn == nil {
		return s.writeBare(b)
	}
	if s.sock != nil && len(b.shared) == 0 { // else one writev does for all pieces
		if next, err = s.writeReady(b); next != b || err != nil {
			return next, err
		}
	}
	return s.writeWithin(b, s.owner.writeTimeout())
}

// writeWithin is writeWaiting with a deadline, which a write that the kernel takes at once does without.
func (s *Session) writeWithin(b *batch, timeout time.Duration) (next *batch, err error) {
	defer s.recovered("connection", &err)
	if timeout > 0 {
		defer func() { _ = s.conn.SetWriteDeadline(time.Time{}) }()
	}
	wait := timeout
	for again := false; ; {
		deadline := time.Now().Add(wait)
		if timeout > 0 {
			_ = s.conn.SetWriteDeadline(deadline)
		}
		n, err := s.writeSome(b)
		next, closed := s.q.wrote(b, n)
		if closed != nil || next != b {
			return next, closed
		}
		switch {
		case err == nil:
		case s.secure() || !errors.Is(err, os.ErrDeadlineExceeded):
			return b, err
		case n > 0:
			wait, again = timeout, false
		case !again && time.Since(deadline) > starvation:
			// This process was away: the peer may have made room since. One look tells.
			wait, again = min(timeout, starvation), true
		default:
			return b, err
		}
	}
}

// tlsRecord is the largest payload of a TLS record (RFC 8446, 5.1).
const tlsRecord = 16 << 10

// writeSome is one waiting write. crypto/tls cannot go on after a deadline, so progress there is
// measured by the record. Only a socket gets all pieces at a time: of another conn, net.Buffers would
// not notice a short write and go on with the next piece.
func (s *Session) writeSome(b *batch) (int, error) {
	if s.sock != nil && len(b.shared) > 0 {
		pieces := b.pieces()
		n, err := pieces.WriteTo(s.conn)
		return int(n), err
	}
	p := b.rest()
	if s.secure() {
		p = p[:min(len(p), tlsRecord)]
	}
	n, err := s.conn.Write(p)
	if n < 0 || n > len(p) || n == 0 && len(p) > 0 && err == nil {
		return 0, io.ErrShortWrite // it would be asked again for ever
	}
	return n, err
}

func (s *Session) secure() bool { return s.conn != transport(s.conn) }

// writeBare sends the messages of a session made from a bare codec. One that cannot be encoded is
// counted as discarded: its Send has returned already.
func (s *Session) writeBare(b *batch) (next *batch, err error) {
	for next = b; next == b && err == nil; {
		sent := s.codecSend(b.msgs[b.first])
		if sent != nil && !notWritten(sent) {
			return b, sent
		}
		next, err = s.q.gave(b, sent == nil)
	}
	return next, err
}
