package libnet

// TCP_USER_TIMEOUT, by which PeerTimeout finds a peer that vanished with data under way, also ends one that reads so slowly that
// its window is small or shut whenever the kernel looks. A session that has to wait for its peer therefore does without it and
// looks itself, every PeerTimeout, whether the peer has taken anything, until the kernel's buffer is empty. A window that was
// shut opens in steps, of 64 KB on a loopback interface, and the kernel may ask seconds later: so one look in vain does not count.

// peerIsSlow begins that. It is called by a write that waits.
func (s *Session) peerIsSlow() {
	timeout := s.owner.peerTimeout()
	if timeout == 0 || s.isSlow() || !setUserTimeout(s.conn, 0) {
		return
	}
	held := s.unsent()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchLocked(timeout)
	if c := s.clock; c != nil {
		c.held.Store(int32(held))
		c.slow.Store(after(s.now(), timeout))
	}
}

func (s *Session) isSlow() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clock != nil && s.clock.slow.Load() != 0
}

// lookAtSlow returns an error if a slow peer has taken nothing at the last two looks.
func (s *Session) lookAtSlow(c *clock, now int64) error {
	if at := c.slow.Load(); at == 0 || now < at {
		return nil
	}
	timeout := s.owner.peerTimeout()
	switch held := int32(s.unsent()); {
	case held == 0:
		c.slow.Store(0)
		c.inVain = false
		setUserTimeout(s.conn, timeout)
		return nil
	case held != c.held.Load():
		c.held.Store(held)
		c.inVain = false
	case c.inVain:
		return ErrWriteTimeout
	default:
		c.inVain = true
	}
	c.slow.Store(after(now, timeout))
	return nil
}
