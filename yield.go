package libnet

// yield is a server's wish to shut a session down once its handler has answered the message it works
// on. The receiver grants it when it comes back for the next one.
type yield struct {
	reason  error
	granted chan struct{} // closed by the receiver once it has begun the closing
}

// askReceiver returns a channel that is closed when the receiver has begun the closing; nil when the
// receiver is not at work.
func (s *Session) askReceiver(reason error) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.receiver.Load() < receiverActive || s.state.Load() != sessionOpen || s.yield != nil {
		return nil
	}
	s.yield = &yield{reason, make(chan struct{})}
	s.yieldAsked.Store(true)
	if s.receiver.Load() < receiverActive && s.yieldAsked.CompareAndSwap(true, false) {
		s.yield = nil // it may have gone to wait without noticing
		return nil
	}
	return s.yield.granted
}

// yieldNow begins the closing that was asked for; false if somebody else has begun one.
func (s *Session) yieldNow() bool {
	if !s.yieldAsked.CompareAndSwap(true, false) {
		return false
	}
	s.mu.Lock()
	y := s.yield
	s.mu.Unlock()
	if !s.beginClosing(y.reason) {
		return false
	}
	close(y.granted)
	return true
}
