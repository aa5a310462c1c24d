package resume

import (
	"context"

	"github.com/libnet-go/libnet"
)

// maxFed is how many messages a Send gives the connection before it leaves the rest, others' messages, to a goroutine.
const maxFed = 256

// feedAndUnlock gives the connection what was not sent on it, one message at a time and with no lock held. Who finds another at it
// leaves its message to that one: so they keep their order.
func (s *Session) feedAndUnlock() {
	if s.inFlight != 0 {
		s.mu.Unlock()
		return
	}
	for range maxFed {
		m, conn := s.nextLocked()
		if m == nil {
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		err := conn.Send(m)
		if err != nil && is(err, libnet.ErrSessionBlocked) && !conn.IsClosed() {
			go s.feedWaiting(conn, m)
			return
		}
		if !s.lockFed(conn, err) {
			return
		}
	}
	s.mu.Unlock()
	go func() {
		s.mu.Lock()
		s.feedAndUnlock()
	}()
}

// feedWaiting goes on with m, for which conn's queue had no room, and what follows it.
func (s *Session) feedWaiting(conn *libnet.Session, m *message) {
	for m != nil {
		err := conn.SendContext(context.Background(), m) // until conn ends, at the latest
		if !s.lockFed(conn, err) {
			return
		}
		m, conn = s.nextLocked()
		s.mu.Unlock()
	}
}

// nextLocked returns the next message to send and puts it in flight; nil if there is none.
func (s *Session) nextLocked() (*message, *libnet.Session) {
	if s.conn == nil || s.opening || s.failed {
		return nil, nil
	}
	m := s.unacknowledged.get(int(s.sent - s.acknowledged))
	if m == nil {
		return nil, nil
	}
	if s.sent-s.peerAcked >= uint64(s.limits.messages) || len(m.data) > s.limits.bytes-s.sentBytes {
		s.unacknowledged.rewind() // what was accepted before the peer's bounds were known waits for acknowledgements
		return nil, nil
	}
	s.sent++
	s.sentBytes += len(m.data)
	s.inFlight = s.sent
	m.kind = kindMessage
	if m.wait {
		m.kind |= flagAtOnce
	}
	if s.ackTravelsLocked() {
		m.kind |= flagAck
		m.ack = s.noteAckLocked()
	}
	return m, s.conn
}

// lockFed locks, and notes that a message is in flight no more. False: the session has ended over it, and is not locked.
func (s *Session) lockFed(conn *libnet.Session, err error) (goOn bool) {
	s.mu.Lock()
	s.inFlight = 0
	s.dropAcknowledgedLocked()
	switch {
	case err == nil || s.conn != conn:
	case conn.IsClosed():
		s.failed = true
	default: // it cannot be sent at all
		s.mu.Unlock()
		s.finish(err)
		return false
	}
	return true
}

// acknowledgeLocked notes how many messages the peer has taken; false if there were never as many.
func (s *Session) acknowledgeLocked(n uint64) (ok bool) {
	if n <= s.peerAcked {
		return true
	}
	if n > s.sent {
		return false
	}
	s.peerAcked = n
	s.dropAcknowledgedLocked()
	s.changedLocked()
	return true
}

// dropAcknowledgedLocked leaves a message that is in flight where it is: it is being read.
func (s *Session) dropAcknowledgedLocked() {
	upTo := s.peerAcked
	if s.inFlight != 0 {
		upTo = min(upTo, s.inFlight-1)
	}
	if upTo > s.acknowledged {
		before := s.unacknowledged.size
		s.unacknowledged.drop(int(upTo - s.acknowledged))
		s.acknowledged = upTo
		s.sentBytes -= before - s.unacknowledged.size
		s.changedLocked() // there is room now, which there was not while a message was in flight
	}
}

// allAcknowledgedLocked reports whether a Shutdown has nothing to wait for any more.
func (s *Session) allAcknowledgedLocked() bool { return s.peerAcked == s.acceptedLocked() }
