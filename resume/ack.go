package resume

import "time"

// When an acknowledgement goes: with the next message, if the one it is for was the first for a while or many wait; by
// itself when a quarter of what may be unacknowledged waits, when the peer asks for it, or AckDelay after the first
// that waits.

// due returns what is to be sent at once about what the application has taken, if anything; sendAck sends it.
func (s *Session) dueLocked(manyBytes, atOnce bool) (*link, *ack) {
	if s.link == nil || s.opening {
		return nil, nil // the next hello or welcome says it, or what follows it
	}
	_, taken := s.totalsLocked()
	if atOnce || manyBytes || taken-s.ackSent >= uint64(s.ackEveryLocked().messages) {
		return s.link, newAck(s.noteAckLocked())
	}
	if taken > s.ackSent {
		s.ackSoonLocked()
	}
	return nil, nil
}

// ackEveryLocked is after how much that was taken an acknowledgement goes by itself.
func (s *Session) ackEveryLocked() limits {
	if s.common.config.ackDelay() == 0 {
		return limits{1, 1}
	}
	return s.limits.ackEvery()
}

func (s *Session) ackSoonLocked() {
	if s.ackTimer == nil {
		s.ackEager = true
		s.ackTimer = time.AfterFunc(max(s.common.config.ackDelay(), time.Millisecond), s.ackDue)
		s.ackWaits.Store(true)
	}
}

// ackDue sends what waits. Without that the timer ends, until there is something again.
func (s *Session) ackDue() {
	s.mu.Lock()
	s.ackWaits.Store(false) // before it is looked: what is taken from now on finds that
	_, taken := s.totalsLocked()
	if s.link == nil || s.opening || !s.ackOwed && taken == s.ackSent {
		s.ackTimer = nil
		s.mu.Unlock()
		return
	}
	s.ackWaits.Store(true)
	s.ackTimer.Reset(max(s.common.config.ackDelay(), time.Millisecond))
	l, a := s.link, newAck(s.noteAckLocked())
	s.mu.Unlock()
	s.sendAck(l, a)
}

// ackTravelsLocked reports whether the next message is to take an acknowledgement along.
func (s *Session) ackTravelsLocked() bool {
	_, taken := s.totalsLocked()
	waiting := taken - s.ackSent
	return waiting > 0 && (s.ackEager || s.ackOwed || waiting >= uint64(s.limits.ackEvery().messages+1)/2)
}

// noteAckLocked returns the count to acknowledge with.
func (s *Session) noteAckLocked() uint64 {
	_, s.ackSent = s.totalsLocked()
	if s.rare != nil {
		s.rare.takenBytes = 0
	}
	s.ackEager, s.ackOwed = false, false
	if s.link != nil {
		s.link.due.Store(uint32(s.ackSent-s.taken) + uint32(s.ackEveryLocked().messages))
	}
	return s.ackSent
}

// sendAck sends what dueLocked returned. Where the queue has no room it goes with a later message, or after AckDelay.
func (s *Session) sendAck(l *link, a *ack) {
	if a == nil {
		return
	}
	if l.conn.Send(&a.Payload) == nil {
		if !l.encodesLate() {
			acks.Put(a)
		}
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link == l && !l.conn.IsClosed() {
		s.ackOwed = true
		s.ackSoonLocked()
	}
}
