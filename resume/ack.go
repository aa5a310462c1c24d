package resume

import (
	"time"

	"github.com/libnet-go/libnet"
)

// When an acknowledgement goes: with the next message, if the one it is for was the first for a while or many wait; by itself when
// a quarter of what may be unacknowledged waits, when the peer asks for it, or AckDelay after the first that waits.

// tookLocked notes that the application has taken a message, and returns what is to be sent about that at once, if anything.
func (s *Session) tookLocked(length int, atOnce bool) (*libnet.Session, *message) {
	s.taken++
	s.takenBytes += length
	if s.conn == nil || s.opening {
		return nil, nil // the next hello or welcome says it, or what follows it
	}
	every, delay := s.limits.ackEvery(), s.config.ackDelay()
	if atOnce || delay == 0 || s.taken-s.ackSent >= uint64(every.messages) || s.takenBytes >= every.bytes {
		return s.conn, s.ackLocked()
	}
	s.ackSoonLocked()
	return nil, nil
}

func (s *Session) ackSoonLocked() {
	if s.ackTimer == nil {
		s.ackEager = true
		s.ackTimer = time.AfterFunc(max(s.config.ackDelay(), time.Millisecond), s.ackDue)
	}
}

// ackDue sends what waits. Without that the timer ends, until there is something again.
func (s *Session) ackDue() {
	s.mu.Lock()
	if s.conn == nil || s.opening || !s.ackOwed && s.taken == s.ackSent {
		s.ackTimer = nil
		s.mu.Unlock()
		return
	}
	s.ackTimer.Reset(max(s.config.ackDelay(), time.Millisecond))
	conn, ack := s.conn, s.ackLocked()
	s.mu.Unlock()
	s.sendAck(conn, ack)
}

// ackTravelsLocked reports whether the next message is to take an acknowledgement along.
func (s *Session) ackTravelsLocked() bool {
	waiting := s.taken - s.ackSent
	return waiting > 0 && (s.ackEager || s.ackOwed || waiting >= uint64(s.limits.ackEvery().messages+1)/2)
}

// noteAckLocked returns the count to acknowledge with.
func (s *Session) noteAckLocked() uint64 {
	s.ackSent, s.takenBytes = s.taken, 0
	s.ackEager, s.ackOwed = false, false
	return s.taken
}

func (s *Session) ackLocked() *message { return &message{kind: kindAck, ack: s.noteAckLocked()} }

// sendAck sends what tookLocked returned. Where conn's queue has no room it goes with a later message, or after AckDelay.
func (s *Session) sendAck(conn *libnet.Session, ack *message) {
	if ack == nil || conn.Send(ack) == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == conn && !conn.IsClosed() {
		s.ackOwed = true
		s.ackSoonLocked()
	}
}
