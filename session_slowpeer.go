package libnet

import (
	"syscall"
	"time"

	"github.com/libnet-go/libnet/internal/sockets"
)

// TCP_USER_TIMEOUT, by which PeerTimeout finds a peer that vanished with data under way, also ends one that reads so slowly that
// its window is small or shut whenever the kernel looks. A session that has to wait for its peer therefore does without it and
// looks itself, every PeerTimeout, whether the peer has taken anything, until the kernel's buffer is empty. A window that was
// shut opens in steps, of 64 KB on a loopback interface, and the kernel may ask seconds later: so one look in vain does not count.

// slowAfter is how long a write with a timeout, 0 for none, may wait before peerIsSlow is to be called.
func (s *Session) slowAfter(timeout time.Duration) time.Duration {
	half := s.owner.peerTimeout() / 2
	if timeout > 0 && half > 0 {
		return min(timeout, half)
	}
	return max(timeout, half)
}

// whileWriting has peerIsSlow called for a write of n bytes, held more being in the kernel, if that still waits after half of
// PeerTimeout. Who knows that a write waits calls peerIsSlow at once.
func (s *Session) whileWriting(n, held int) (end func()) {
	wait := s.slowAfter(0)
	if wait == 0 || s.below == nil || n+held <= max(s.owner.sendBuffer(), leastSendBuffer) {
		return func() {}
	}
	timer := time.AfterFunc(wait, s.peerIsSlow)
	return func() { timer.Stop() }
}

// leastSendBuffer is what any system's send buffer takes.
const leastSendBuffer = 16 << 10

// peerIsSlow begins that.
func (s *Session) peerIsSlow() {
	timeout := s.owner.peerTimeout()
	if timeout == 0 || s.isSlow() || !sockets.SetUserTimeout(s.conn, 0) {
		return
	}
	taken, _ := s.taken()
	s.mu.Lock()
	s.watchLocked(timeout)
	if c := s.clock; c != nil {
		c.taken.Store(taken)
		c.slow.Store(after(s.now(), timeout))
	}
	s.mu.Unlock()
	sockets.SetUserTimeout(s.conn, 0) // again: a look that ended the slowness before may just have set it
}

func (s *Session) isSlow() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clock != nil && s.clock.slow.Load() != 0
}

// taken is how many bytes the peer has taken, and how many the kernel holds for it. A session that always has something to write
// keeps the kernel's buffer full: that level alone says nothing. Through TLS, whose records are longer than what they carry, the
// count is only good for seeing that it changes.
func (s *Session) taken() (taken int64, held int) {
	out := s.q.Counters().BytesOut
	held = s.unsent()
	return int64(out) - int64(held), held
}

// unsent is what the kernel holds of what was written to the session's conn, or to what its TLS runs on, and the peer
// has not taken; 0 where nobody can tell.
func (s *Session) unsent() int { return sockets.Unsent(s.descriptor()) }

// descriptor returns the handle of the session's descriptor, or of the one below its conn; nil if there is none.
func (s *Session) descriptor() syscall.RawConn {
	if s.sock != nil {
		return s.sock.Raw()
	}
	return s.below
}

// lookAtSlow returns an error if a slow peer has taken nothing at the last two looks.
func (s *Session) lookAtSlow(c *clock, now int64) error {
	if at := c.slow.Load(); at == 0 || now < at {
		return nil
	}
	switch taken, held := s.taken(); {
	case held == 0:
		s.endSlow(c)
		return nil
	case taken != c.taken.Load():
		c.taken.Store(taken)
		c.inVain = false
	case c.inVain:
		return ErrWriteTimeout
	default:
		c.inVain = true
	}
	c.slow.Store(after(now, s.owner.peerTimeout()))
	return nil
}

// endSlow leaves the peer to the kernel again, unless a write begins to wait meanwhile.
func (s *Session) endSlow(c *clock) {
	c.inVain = false
	c.slow.Store(0)
	sockets.SetUserTimeout(s.conn, s.owner.peerTimeout())
	if c.slow.Load() != 0 {
		sockets.SetUserTimeout(s.conn, 0)
	}
}
