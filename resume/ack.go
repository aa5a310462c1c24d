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
	waiting := s.waitingLocked()
	if atOnce || manyBytes || waiting >= uint32(s.ackEveryLocked().messages) {
		return s.link, newAck(s.noteAckLocked())
	}
	if waiting > 0 {
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
	if s.link == nil || s.opening || !s.ackOwed && s.waitingLocked() == 0 {
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

// waitingLocked is how many messages were taken of which the peer was not told.
func (s *Session) waitingLocked() uint32 {
	_, taken := s.totalsLocked()
	return uint32(taken) - s.ackSent
}

// ackTravelsLocked reports whether the next message is to take an acknowledgement along.
func (s *Session) ackTravelsLocked() bool {
	waiting := s.waitingLocked()
	return waiting > 0 && (s.ackEager || s.ackOwed || waiting >= uint32(s.limits.ackEvery().messages+1)/2)
}

// noteAckLocked returns the count to acknowledge with.
func (s *Session) noteAckLocked() uint64 {
	_, taken := s.totalsLocked()
	s.ackSent = uint32(taken)
	if s.rare != nil {
		s.rare.takenBytes = 0
	}
	s.ackEager, s.ackOwed = false, false
	if s.link != nil {
		s.link.due.Store(uint32(taken-s.takenLocked()) + uint32(s.ackEveryLocked().messages))
	}
	return taken
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
