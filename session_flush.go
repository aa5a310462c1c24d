package libnet

import "github.com/libnet-go/libnet/internal/sendqueue"

// wake sees to it that what was queued is written.
func (s *Session) wake() { s.flushBy(s.q.Wake()) }

// flushBy has the one flush whom the queue has named.
func (s *Session) flushBy(by sendqueue.By) {
	switch by {
	case sendqueue.ByCaller:
		s.flushNow()
	case sendqueue.ByReceiver:
		s.owner.flusher.flushLater(s)
	case sendqueue.ByAnother:
		s.flushSoon()
	}
}

// flushNow carries out a flush that has begun, in the caller if it need not wait for the peer.
func (s *Session) flushNow() {
	if s.sock != nil {
		s.flushReady(s.q.Take())
	} else {
		go s.sendLoop()
	}
}

// flushSoon has a flush that has begun carried out on another goroutine: one of the flusher's, which never wait for a peer, or
// one of the session's own where a write may wait. crypto/tls and conns of the user's have no write that does not.
func (s *Session) flushSoon() {
	if s.sock != nil {
		s.owner.flusher.flush(s)
	} else {
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
	b, failed := s.q.Take(), error(nil)
	for b != nil && failed == nil {
		b, failed = s.writeWaiting(b)
	}
	err = failed
}

// flushReady writes b, which was taken from the queue, and what follows it until the queue is empty. It does not wait: what the
// kernel does not take at once it leaves to a send loop. A receiver must not wait for a peer that may itself be waiting to be
// read from.
func (s *Session) flushReady(b *sendqueue.Batch) {
	for b != nil {
		left := len(b.Rest())
		n, err := s.sock.Write(b.Rest())
		next, closed := s.q.Wrote(b, n)
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
