package libnet

import (
	"errors"
	"io"
	"net"
	"os"
	"time"
)

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
