package libnet

import (
	"syscall"
	"time"

	"github.com/libnet-go/libnet/internal/lock"
	"github.com/libnet-go/libnet/internal/sendqueue"
	"github.com/libnet-go/libnet/internal/sockets"
)

// TCP_USER_TIMEOUT, by which PeerTimeout finds a peer that vanished with data under way, also ends one that reads so
// slowly that its window is small or shut whenever the kernel looks. A session that has to wait for its peer therefore
// does without it and looks itself, every PeerTimeout, whether the peer has taken anything, until the kernel's buffer
// is empty. A window that was shut opens in steps, of 64 KB on a loopback interface, and the kernel may ask seconds
// later: so one look in vain does not count.

// slowAfter is how long a write with a timeout, 0 for none, may wait before peerIsSlow is to be called.
func (s *Session) slowAfter(timeout time.Duration) time.Duration {
	half := s.owner.peerTimeout() / 2
	if timeout > 0 && half > 0 {
		return min(timeout, half)
	}
	return max(timeout, half)
}

// whileWriting has peerIsSlow called for a write of n bytes, behind unsent ones in the kernel, if that still waits
// after half of PeerTimeout. Who knows that a write waits calls peerIsSlow at once.
func (s *Session) whileWriting(n, unsent int) (end func()) {
	wait := s.slowAfter(0)
	if wait == 0 || s.descriptor() == nil || n+unsent <= max(s.owner.sendBuffer(), leastSendBuffer) {
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
	if timeout == 0 || s.isSlow() || !sockets.SetUserTimeout(s.descriptor(), 0) {
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
	sockets.SetUserTimeout(s.descriptor(), 0) // again: a look that ended the slowness before may just have set it
}

func (s *Session) isSlow() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clock != nil && s.clock.slow.Load() != 0
}

// taken is how many bytes the peer has taken, and how many the kernel has for it. A session that always has something
// to write keeps the kernel's buffer full: that level alone says nothing. Through TLS, whose records are longer than
// what they carry, the count is only good for seeing that it changes.
func (s *Session) taken() (taken int64, unsent int) {
	out := s.q.Counters().BytesOut
	unsent = s.unsent()
	return int64(out) - int64(unsent), unsent
}

// unsent is how many bytes the kernel has of what was written to the session's conn, or to what its TLS runs on, and
// the peer has not taken; 0 where nobody can tell.
func (s *Session) unsent() int { return sockets.Unsent(s.descriptor()) }

// descriptor returns the handle of the session's descriptor, or of the one below its conn; nil if there is none.
func (s *Session) descriptor() syscall.RawConn {
	if s.sock != nil {
		return s.sock.Raw()
	}
	if s.conn == nil {
		return nil
	}
	return s.extras.below
}

// lookAtSlow returns an error if a slow peer has taken nothing at the last two looks.
func (s *Session) lookAtSlow(c *clock, now int64) error {
	if at := c.slow.Load(); at == 0 || now < at {
		return nil
	}
	switch taken, unsent := s.taken(); {
	case unsent == 0:
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
	sockets.SetUserTimeout(s.descriptor(), s.owner.peerTimeout())
	if c.slow.Load() != 0 {
		sockets.SetUserTimeout(s.descriptor(), 0)
	}
}

// A writeGuard bounds a write through TLS, or another protocol that runs in this process. That cannot go on after a
// deadline, so none is set before the peer has made no progress for WriteTimeout: the guard looks at the kernel's
// buffer. The first write may run the handshake, which reads, so it ends the session where that is not done.
type writeGuard struct {
	timer *time.Timer

	mu lock.Mutex[guardLock]
	// mu guards the following.
	session     *Session // nil once the write has returned
	unsent      int      // at the last look
	due         time.Time
	again       bool // the last look came late
	interrupted bool // a deadline is set
}

type guardLock struct{}

// writeGuarded is writeWaiting for conns that are not to be interrupted while they make progress.
func (s *Session) writeGuarded(b *sendqueue.Batch) (next *sendqueue.Batch, err error) {
	defer s.recovered("connection", &err)
	unsent := s.unsent()
	defer s.whileWriting(min(b.Unwritten(), tlsRecord), unsent)()
	var n int
	if timeout := s.owner.writeTimeout(); timeout > 0 {
		g := newWriteGuard(s, timeout, unsent)
		defer g.end() // also if the conn panics
		n, err = s.writeSome(b)
		g.end()
	} else {
		n, err = s.writeSome(b)
	}
	next, closed := s.q.Wrote(b, n)
	if closed != nil || next != b {
		return next, closed
	}
	return b, err
}

func newWriteGuard(s *Session, timeout time.Duration, unsent int) *writeGuard {
	g := &writeGuard{session: s, unsent: unsent, due: time.Now().Add(timeout)}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.timer = time.AfterFunc(timeout, g.look)
	return g
}

func (g *writeGuard) setLocked(d time.Duration) {
	g.due = time.Now().Add(d)
	g.timer.Reset(d)
}

// end takes back what the guard did, before another flush may write. A second call does nothing.
func (g *writeGuard) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.session
	if s == nil {
		return
	}
	g.session = nil
	g.timer.Stop()
	if g.interrupted {
		_ = s.conn.SetWriteDeadline(time.Time{})
	}
}

// look is the timer's.
func (g *writeGuard) look() {
	g.mu.Lock()
	s := g.session
	g.mu.Unlock()
	if s == nil {
		return
	}
	stuck, reason := true, ErrWriteTimeout // stay if a conn of the user's panics or ends the goroutine
	defer func() {
		if r := recover(); r != nil {
			reason = s.panicked("connection", r)
		}
		if stuck {
			s.terminate(reason)
		}
	}()
	hangs := time.AfterFunc(flushEnd, func() { s.terminate(ErrWriteTimeout) }) // a conn's SetWriteDeadline may not return
	defer hangs.Stop()
	stuck = s.inHandshake() || g.isStuck(s)
}

// isStuck reports whether the conn did not care for a deadline. Before, it sees to it that there is one, unless the
// peer has made progress since the last look.
func (g *writeGuard) isStuck(s *Session) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch timeout := s.owner.writeTimeout(); {
	case g.session == nil:
	case g.interrupted:
		return true
	case s.kernelMoved(&g.unsent):
		g.again = false
		g.setLocked(timeout)
	case !g.again && time.Since(g.due) > starvation:
		g.again = true
		g.setLocked(min(timeout, starvation))
	default:
		g.interrupted = true
		_ = s.conn.SetWriteDeadline(longAgo)
		g.setLocked(flushEnd)
	}
	return false
}
