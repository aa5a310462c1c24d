package libnet

import (
	"io"
	"net"
	"time"

	"github.com/libnet-go/libnet/internal/sendqueue"
	"github.com/libnet-go/libnet/internal/sockets"
)

// What lies unread says two things that a receiver who does not come cannot: that a peer is not silent, and that it has ended.

// isBehind reports whether something came that is still to be received, in the kernel or in hand. Where nobody has ever received, and OnSession is not
// about to, that must be more than at the last look.
func (s *Session) isBehind(c *clock) bool {
	if s.conn == nil {
		return false
	}
	unread := sockets.Unread(s.conn) + s.inHand()
	comes := s.q.Receiver() != sendqueue.ReceiverAbsent || c.awaited.Load()&awaitWelcome != 0
	behind := unread > 0 && (comes || unread > c.unread)
	c.unread = unread
	return behind
}

// inHand is what a receiver who is at work on a message has read beyond it.
func (s *Session) inHand() int {
	if s.q.Receiver() < sendqueue.ReceiverActive {
		return 0
	}
	return s.notHanded()
}

// peerLook is how often a session looks for its peer's end that somebody waits for: it is noticed within twice as long.
const peerLook = 2 * time.Second

// watchPeerLocked has the clock look for the peer's end, which nobody may notice who does not receive.
func (s *Session) watchPeerLocked() {
	if s.conn == nil || s.state.Load() != sessionOpen || s.serving.Started() || s.clock != nil && s.clock.look.Load() != 0 {
		return
	}
	s.watchLocked(peerLook)
	s.clock.look.Store(after(s.now(), peerLook))
}

// lookAtPeer ends a session whose peer has ended, unless something is to be received before. Where nobody has ever
// received, that is left lying for Linger.
func (s *Session) lookAtPeer(c *clock, now int64) {
	if at := c.look.Load(); at == 0 || now < at || s.IsClosed() {
		return
	}
	c.look.Store(after(now, peerLook))
	if s.q.Receiver() == sendqueue.ReceiverWaiting || s.serving.Started() || !sockets.PeerEnded(s.conn) || !s.recvMu.TryLock() {
		return
	}
	left := !s.in.Empty() || sockets.Unread(s.conn) > 0
	s.recvMu.Unlock()
	if c.over == 0 {
		c.over = now
	}
	if !left || s.q.Receiver() == sendqueue.ReceiverAbsent && now >= after(c.over, s.owner.linger()) {
		s.endOfPeer(io.EOF)
	}
}

// A bufferedConn holds in this process what has arrived, and says how many bytes: libnettest's pipes do.
type bufferedConn interface{ Buffered() int }

// inputWaits reports whether something has arrived for conn, in the kernel or in this process. It does not take it.
func inputWaits(conn net.Conn) (waits bool) {
	defer func() { _ = recover() }() // of a conn of the user's
	if b, ok := conn.(bufferedConn); ok {
		return b.Buffered() > 0
	}
	return sockets.HasInput(conn)
}
