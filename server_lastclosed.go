package libnet

import (
	"net"
	"time"
)

// keptClosed is how many closed sessions a server remembers: what fits on a page, in some 10 KB.
const keptClosed = 64

// A ClosedSession is what a server remembers of a session that has ended.
type ClosedSession struct {
	ID         uint64
	RemoteAddr net.Addr // nil where the connection had none
	Err        error    // what Session.Err says; CloseReason has its short name
	Closed     time.Time
	Stats      SessionStats
}

// LastClosed returns the sessions that closed last, at most 64 of them, the newest first. They are those
// that [ServerStats] counts as closed, in the same order.
func (srv *Server) LastClosed() []ClosedSession {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return srv.lastClosed.all()
}

// closedRing holds the newest keptClosed. It takes memory only as it fills.
type closedRing struct {
	kept []ClosedSession
	next int // where the next goes once kept is full: to the oldest's place
}

func (r *closedRing) add(c ClosedSession) {
	if len(r.kept) < keptClosed {
		r.kept = append(r.kept, c)
		return
	}
	r.kept[r.next] = c
	r.next = (r.next + 1) % keptClosed
}

func (r *closedRing) all() []ClosedSession {
	all := make([]ClosedSession, 0, len(r.kept))
	for i := range r.kept {
		newest := r.next - 1 - i + 2*len(r.kept)
		all = append(all, r.kept[newest%len(r.kept)])
	}
	return all
}

// addrForRecord is the conn's RemoteAddr, or nil if that method of the user's panics.
func (s *Session) addrForRecord() (addr net.Addr) {
	defer func() { _ = recover() }()
	return s.RemoteAddr()
}
