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
	err := ErrSessionClosed // stays if the user's conn or codec ends the goroutine
	defer func() {
		if err != nil {
			_ = s.outputFailed(err)
		}
	}()
	b, failed := s.q.take(), error(nil)
	for b != nil && failed == nil {
		b, failed = s.writeWaiting(b)
	}
	err = failed
}

// flushReady writes b, which was taken from the queue, and what follows it until the queue is empty. It does not wait: what the
// kernel does not take at once it leaves to a send loop. A receiver must not wait for a peer that may itself be waiting to be
// read from.
func (s *Session) flushReady(b *batch) {
	for b != nil {
		left := len(b.rest())
		n, err := s.sock.Write(b.rest())
		next, closed := s.q.wrote(b, n)
		switch {
		case err != nil:
			_ = s.outputFailed(err)
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
