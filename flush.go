package libnet

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
		if err := s.flushReady(s.q.take()); err != nil {
			go s.terminate(err) // the sender may hold a lock that a close callback wants
		}
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
	if err := s.flush(s.q.take()); err != nil {
		s.terminate(err)
	}
}

// flushReady is flush that does not wait: what the kernel does not take at once it leaves to a send loop.
// A receiver must not wait for a peer that may itself be waiting to be read from.
func (s *Session) flushReady(b *batch) error {
	for b != nil {
		p := b.next()
		n, err := s.sock.write(p)
		next := s.q.wrote(b, n)
		if err != nil {
			return s.flushed(err)
		}
		if next == b && n < len(p) {
			go s.sendLoop()
			return nil
		}
		b = next
	}
	return nil
}
