package libnet

import (
	"github.com/libnet-go/libnet/internal/sendqueue"
	"github.com/libnet-go/libnet/internal/sockets"
)

// An ending is what only a session needs that is being shut down, or has dropped what arrived.
type ending struct {
	// Guarded by the session's mu.
	dropped uint64 // bytes

	// A server's request to shut the session down once its handler has answered the message it
	// works on; the receiver grants it when it comes back for the next one.
	reason  error
	granted chan struct{} // closed by the receiver once it has begun the closing; nil while nobody has asked
}

func (s *Session) endingLocked() *ending {
	if s.ending == nil {
		s.ending = new(ending)
	}
	return s.ending
}

// askReceiver returns a channel that is closed when the receiver has begun the closing; nil when the
// receiver is not at work. Who asks second waits for the same.
func (s *Session) askReceiver(reason error) <-chan struct{} {
	pending := s.inputPending()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Load() != sessionOpen || s.q.Receiver() < sendqueue.ReceiverActive && !pending {
		return nil
	}
	e := s.endingLocked()
	if e.granted != nil {
		return e.granted
	}
	e.reason, e.granted = reason, make(chan struct{})
	s.yieldAsked.Store(true)
	if s.q.Receiver() < sendqueue.ReceiverActive && !pending && s.yieldAsked.CompareAndSwap(true, false) {
		e.granted = nil // it may have gone to wait without noticing
		return nil
	}
	return e.granted
}

// yieldNow begins the closing that was asked for; false if nobody has asked, or somebody else has begun one. With
// Server.ServeArrived it waits until all that has arrived is received.
func (s *Session) yieldNow() bool {
	if s.inputPending() || !s.yieldAsked.CompareAndSwap(true, false) {
		return false
	}
	s.mu.Lock()
	e := s.ending
	s.mu.Unlock()
	if !s.beginClosing(e.reason) {
		return false
	}
	close(e.granted)
	s.dropUnread()
	s.startDelivery(e.reason)
	return true
}

// mustYield is yieldNow for a receiver that has perhaps read more messages: with Server.ServeArrived it goes on.
func (s *Session) mustYield() bool {
	return s.yieldAsked.Load() && !s.servesArrived() && s.yieldNow()
}

func (s *Session) servesArrived() bool {
	srv := s.owner.server
	return srv != nil && srv.ServeArrived
}

// inputPending reports whether a server that shuts down is to let the session read more.
func (s *Session) inputPending() bool {
	return s.servesArrived() && s.sock != nil && sockets.HasInput(s.conn)
}

// noteDropped counts bytes that nobody will receive, until the counters are final.
func (s *Session) noteDropped(n int) {
	if n <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noteDroppedLocked(n)
}

func (s *Session) noteDroppedLocked(n int) {
	if n > 0 && !s.ended {
		s.endingLocked().dropped += uint64(n)
	}
}

func (s *Session) droppedBytes() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending == nil {
		return 0
	}
	return s.ending.dropped
}
