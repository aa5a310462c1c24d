package libnet

import "slices"

// callback is a function to run when the session has closed, in the list of those.
type callback struct {
	f     func()
	leave bool // removes the session from a group: these run before the user's

	// Guarded by Session.mu.
	older, newer *callback
}

// OnClose has f called once when the session has closed, after it left its manager and groups, with
// no lock held, in the goroutine that closes; on a closed session at once, in the caller's. Callbacks
// run in the order they were registered; one that panics, or ends its goroutine, is logged and does not keep the
// others from running. The session's handler may still be at work: guard what both use. stop takes f back and
// reports whether it did: false says that f has been, or is being, run. It takes the same time however many there are.
func (s *Session) OnClose(f func()) (stop func() bool) {
	if f == nil {
		panic("libnet: OnClose with a nil function")
	}
	c := &callback{f: f}
	if !s.register(c) {
		s.call(c)
	}
	return func() bool { return s.forget(c) }
}

// register appends c to the callbacks; false if they have been taken to be run.
func (s *Session) register(c *callback) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.called {
		return false
	}
	if c.older = s.callbacks; c.older != nil {
		c.older.newer = c
	}
	s.callbacks = c
	return true
}

// forget takes c out of the callbacks; false if it is in them no more.
func (s *Session) forget(c *callback) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case c.newer != nil:
		c.newer.older = c.older
	case s.callbacks == c:
		s.callbacks = c.older
	default:
		return false
	}
	if c.older != nil {
		c.older.newer = c.newer
	}
	c.older, c.newer = nil, nil
	return true
}

func (s *Session) call(c *callback) {
	var err error
	defer s.recovered("close callback", &err)
	c.f()
}

// hasUsers reports whether there are others than those that leave groups.
func hasUsers(callbacks []*callback) bool {
	return slices.ContainsFunc(callbacks, func(c *callback) bool { return !c.leave })
}

// callEach calls one behind the other. Where one ends the goroutine, the deferred function calls those behind it
// before the goroutine is gone.
func (s *Session) callEach(callbacks []*callback) {
	defer func() {
		if len(callbacks) > 0 {
			s.callEach(callbacks)
		}
	}()
	for len(callbacks) > 0 {
		c := callbacks[0]
		callbacks = callbacks[1:]
		s.call(c)
	}
}

// takeCallbacks returns the callbacks in the order in which they are to run: those of groups, then the user's, each
// as they were registered.
func (s *Session) takeCallbacks() []*callback {
	s.mu.Lock()
	defer s.mu.Unlock()
	var oldest *callback
	n := 0
	for c := s.callbacks; c != nil; c = c.older {
		oldest = c
		n++
	}
	callbacks := make([]*callback, 0, n)
	for _, leave := range []bool{true, false} {
		for c := oldest; c != nil; c = c.newer {
			if c.leave == leave {
				callbacks = append(callbacks, c)
			}
		}
	}
	for _, c := range callbacks {
		c.older, c.newer = nil, nil
	}
	s.callbacks, s.called = nil, true
	return callbacks
}
