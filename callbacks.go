package libnet

import "slices"

// callback is a function to run when the session has closed.
type callback struct {
	f     func()
	leave bool // removes the session from a group: these run before the user's
	older *callback
}

// OnClose has f called once when the session has closed, after it left its manager and groups, with
// no lock held, in the goroutine that closes; on a closed session at once, in the caller's. Callbacks
// run in the order they were registered; one that panics is logged and does not keep the others from
// running. The session's handler may still be at work: guard what both use. stop takes f back and reports whether it did: false says that f has been, or is being, run.
func (s *Session) OnClose(f func()) (stop func() bool) {
	if f == nil {
		panic("libnet: OnClose with a nil function")
	}
	return s.onClose(&callback{f: f})
}

func (s *Session) onClose(c *callback) (stop func() bool) {
	s.mu.Lock()
	if s.called {
		s.mu.Unlock()
		s.call(c)
		return func() bool { return false }
	}
	c.older, s.callbacks = s.callbacks, c
	s.mu.Unlock()
	return func() bool { return s.forget(c) }
}

func (s *Session) forget(c *callback) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at := &s.callbacks; *at != nil; at = &(*at).older {
		if *at == c {
			*at, c.older = c.older, nil
			return true
		}
	}
	return false
}

func (s *Session) call(c *callback) {
	var err error
	defer s.recovered("close callback", &err)
	c.f()
}

func (s *Session) runCallbacks() {
	callbacks := s.takeCallbacks()
	for _, c := range callbacks {
		if c.leave {
			s.call(c)
		}
	}
	for _, c := range callbacks {
		if !c.leave {
			s.call(c)
		}
	}
}

// takeCallbacks returns the callbacks in the order they were registered.
func (s *Session) takeCallbacks() (callbacks []*callback) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := s.callbacks; c != nil; c = c.older {
		callbacks = append(callbacks, c)
	}
	slices.Reverse(callbacks)
	s.callbacks, s.called = nil, true
	return callbacks
}
