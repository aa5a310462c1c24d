package libnet

import (
	"time"

	"github.com/libnet-go/libnet/internal/lock"
	"github.com/libnet-go/libnet/internal/sendqueue"
)

// A writeGuard bounds a write through TLS, or another protocol that runs in this process. That cannot go on after a
// deadline, so none is set before the peer has made no progress for WriteTimeout: the guard looks at the kernel's
// buffer. The first write may run the handshake, which reads, so it ends the session where that is not done.
type writeGuard struct {
	timer *time.Timer

	mu lock.Mutex[guardLock]
	// mu guards the following.
	session     *Session // nil once the write has returned
	held        int      // unsent at the last look
	due         time.Time
	again       bool // the last look came late
	interrupted bool // a deadline is set
}

// writeGuarded is writeWaiting for conns that are not to be interrupted while they make progress.
func (s *Session) writeGuarded(b *sendqueue.Batch) (next *sendqueue.Batch, err error) {
	defer s.recovered("connection", &err)
	held := s.unsent()
	defer s.whileWriting(min(b.Unwritten(), tlsRecord), held)()
	var n int
	if timeout := s.owner.writeTimeout(); timeout > 0 {
		g := newWriteGuard(s, timeout, held)
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

func newWriteGuard(s *Session, timeout time.Duration, held int) *writeGuard {
	g := &writeGuard{session: s, held: held, due: time.Now().Add(timeout)}
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
	stuck = s.shaking() || g.isStuck(s)
}

// isStuck reports whether the conn did not care for a deadline. Before, it sees to it that there is one, unless the peer
// has made progress since the last look.
func (g *writeGuard) isStuck(s *Session) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch timeout := s.owner.writeTimeout(); {
	case g.session == nil:
	case g.interrupted:
		return true
	case s.kernelMoved(&g.held):
		g.again = false
		g.setLocked(timeout)
	case !g.again && time.Since(g.due) > starvation:
		g.again = true
		g.setLocked(min(timeout, starvation))
	default:
		g.interrupted = true
		_ = s.conn.SetWriteDeadline(time.Unix(1, 0))
		g.setLocked(flushEnd)
	}
	return false
}
