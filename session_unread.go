package libnet

import (
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/libnet-go/libnet/internal/sendqueue"
	"github.com/libnet-go/libnet/internal/sockets"
)

// A handed says how far the receiver has come, for an end that does not wait for it: the messages that it handed over to its
// user are received, and the bytes behind them dropped. Bit 63 says that the session's counters are final: no message is handed
// over any more. The next 31 bits count messages, the rest bytes, both without what is above.
type handed struct{ n atomic.Uint64 }

const (
	handedFinal    = 1 << 63
	handedMessages = 1<<31 - 1
)

// set notes how many messages and bytes have been taken from what arrived; false if the counters are final.
func (h *handed) set(messages, bytes uint64) bool {
	n := messages&handedMessages<<32 | bytes&(1<<32-1)
	if h.n.Swap(n)&handedFinal == 0 {
		return true
	}
	h.n.Store(handedFinal)
	return false
}

// end makes the counters final. It returns what was noted last; not first if they were.
func (h *handed) end() (messages, bytes uint64, first bool) {
	n := h.n.Swap(handedFinal)
	return n >> 32 & handedMessages, n & (1<<32 - 1), n&handedFinal == 0
}

// handOver is called by the receiver, with a message that it is about to hand over; false if that must not be any more. What
// NewCodec has read is handed over, too.
func (s *Session) handOver() bool {
	return s.handed.set(s.parsed, s.read.Load()-uint64(len(s.in.Unread())))
}

// notHanded is what of the bytes read has not been handed over.
func (s *Session) notHanded() int { return int(uint32(s.read.Load()) - uint32(s.handed.n.Load())) }

// noteLastReceived makes what was received since the receiver last waited a part of the final counters, and what it will not
// receive any more.
func (s *Session) noteLastReceived() {
	s.mu.Lock()
	messages, bytes, first := s.handed.end()
	read := s.read.Load()
	if first {
		s.noteDroppedLocked(int(uint32(read) - uint32(bytes)))
	}
	s.mu.Unlock()
	if first {
		s.q.NoteLastReceived(messages, handedMessages, read)
	}
	if !s.serving.Started() && s.recvMu.TryLock() { // else whoever receives gives the storage back
		s.in.Release()
		s.recvMu.Unlock()
	}
}

// dropUnread gives the input's storage back. It belongs to the receiver. Of it and an end that comes meanwhile, one counts the
// bytes.
func (s *Session) dropUnread() {
	s.mu.Lock()
	if s.handed.set(s.parsed, s.read.Load()) {
		s.noteDroppedLocked(len(s.in.Unread()))
	}
	s.mu.Unlock()
	s.in.Release()
}

// What lies unread says two things that a receiver who does not come cannot: that a peer is not silent, and that it has ended.

// isBehind reports whether something came that is still to be received, in the kernel or in hand. Where nobody can tell, a receiver
// at work is taken to be behind. Where nobody has ever received, and OnSession is not about to, that must be more than at the
// last look.
func (s *Session) isBehind(c *clock) bool {
	if s.conn == nil {
		return false
	}
	unread, known := s.arrived()
	if !known {
		worked := c.worked
		c.worked = s.q.Receiver() >= sendqueue.ReceiverActive
		return c.worked || worked // it may just have gone to wait
	}
	unread += s.inHand()
	comes := s.q.Receiver() != sendqueue.ReceiverAbsent || c.awaited.Load()&awaitOnSession != 0
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
	if s.q.Receiver() == sendqueue.ReceiverWaiting || s.serving.Started() || !sockets.PeerEnded(s.descriptor()) || !s.recvMu.TryLock() {
		return
	}
	left := !s.in.Empty() || sockets.Unread(s.descriptor()) > 0
	end := io.EOF
	if !left && !s.mayEnd() {
		end = io.ErrUnexpectedEOF
	}
	s.recvMu.Unlock()
	if c.over == 0 {
		c.over = now
	}
	if !left || s.q.Receiver() == sendqueue.ReceiverAbsent && now >= after(c.over, s.owner.linger()) {
		s.endOfPeer(end)
	}
}

// A bufferedConn holds in this process what has arrived, and says how many bytes: libnettest's pipes do.
type bufferedConn interface{ Buffered() int }

// arrived is how many bytes have arrived and were not read, in the kernel or in this process; not known says that nobody can tell.
func (s *Session) arrived() (n int, known bool) {
	defer func() { _ = recover() }() // of a conn of the user's
	if b, ok := s.conn.(bufferedConn); ok {
		return b.Buffered(), true
	}
	raw := s.descriptor()
	return sockets.Unread(raw), raw != nil
}

// inputWaits reports whether something has arrived that was not read.
func (s *Session) inputWaits() bool {
	n, _ := s.arrived()
	return n > 0
}

// What package ws's conn has beyond a [MessageConn]. A net.Conn of the user's has no use for these.
type (
	// sessionConn is told its session, when that is made: why the session ends, its peer is told.
	sessionConn interface{ SetSession(*Session) }

	// readAheadConn reads what the session has not asked for yet, so that its socket does not tell whether the
	// peer is silent.
	readAheadConn interface {
		// LastInput is when something last came: now, while something waits to be read.
		LastInput() time.Time
	}
)

func tellConn(conn net.Conn, s *Session) {
	if c, ok := conn.(sessionConn); ok {
		c.SetSession(s)
	}
}

// Conn is how ws finds its conn.
func (st stream) Conn() net.Conn { return st.s.conn }

// WriteTimeout bounds what ws's conn writes by itself; 0 means no bound.
func (st stream) WriteTimeout() time.Duration { return st.s.owner.writeTimeout() }

// readAhead notes what the conn has read that the session has not. It reports whether that was later than
// what was known.
func (s *Session) readAhead() bool {
	defer func() { _ = recover() }() // from a conn of the user's after all
	c, ok := s.conn.(readAheadConn)
	if !ok {
		return false
	}
	last := int64(c.LastInput().Sub(s.opened)) + openedNow
	if last <= s.received.Load() {
		return false
	}
	s.received.Store(last)
	return true
}

// What is late ends the session, unless the peer has done its part: what has arrived may wait for the receiver, or the receiver
// be at work on it. One that has just gone to wait, or whose read has just returned, cannot be told from one that waits in vain:
// therefore a recheck.

// A recheck is a second look at something late, once for each: starvation after the first.
type recheck struct {
	since int64 // when the late one began that has had it
	at    int64
}

// grant reports whether what began at since has not had its second look.
func (r *recheck) grant(since, now int64) bool {
	if r.since == since {
		return false
	}
	r.since, r.at = since, after(now, starvation)
	return true
}

// loginIsLate returns what becomes of a session whose HandshakeTimeout has passed.
func (s *Session) loginIsLate(c *clock, now int64) error {
	awaited := c.awaited.Load()
	switch {
	case awaited == 0 && !s.IsClosed():
		return nil // it came meanwhile
	case s.owesMessage(c):
		c.from = now
		return nil
	case awaited == awaitMessage && !s.IsClosed() && s.mayBeTaking(c.from) && c.lateLogin.grant(c.from, now):
		return nil
	}
	return ErrHandshakeTimeout
}

// owesMessage reports whether only a first message is missing, and it is this side that does not receive it.
func (s *Session) owesMessage(c *clock) bool {
	if s.conn == nil || s.IsClosed() || c.awaited.Load() != awaitMessage || s.sock != nil && s.sock.PendingHandshake() != nil {
		return false
	}
	return s.q.Receiver() != sendqueue.ReceiverWaiting && s.inputWaits()
}

// frameIsLate returns what becomes of a session whose FrameTimeout has passed.
func (s *Session) frameIsLate(c *clock, now int64) error {
	start := s.frameStart.Load()
	switch {
	case start == 0 || after(start, s.owner.frameTimeout()) > now:
		return nil // it came meanwhile
	case s.q.Receiver() != sendqueue.ReceiverWaiting: // but works on what has come
		c.lateFrame.at = after(now, starvation)
		return nil
	case c.lateFrame.at > start && c.lateFrame.grant(start, now): // at the last look it did
		return nil
	}
	return ErrFrameTimeout
}

// inputIsLate returns what becomes of a session whose IdleTimeout has passed.
func (s *Session) inputIsLate(c *clock, now int64) error {
	received, unread := s.received.Load(), c.unread
	switch {
	case s.readAhead():
		return nil
	case s.isBehind(c):
		s.received.Store(now)
		return nil
	case s.received.Load() != received: // it came meanwhile
		return nil
	case unread > 0 && c.unread == 0 && c.lateInput.grant(received, now): // what it was behind has been read since
		return nil
	}
	return ErrIdleTimeout
}

// mayBeTaking reports whether the receiver has, for all that can be told, just come for what was seen to wait at lastLook: it has not
// noted a read since, or is at work. Where there was no such look, it must be the first that it reads.
func (s *Session) mayBeTaking(lastLook int64) bool {
	works, received := s.q.Receiver() >= sendqueue.ReceiverActive, s.received.Load()
	if lastLook <= openedNow {
		return works && s.frameStart.Load() == 0 || received == 0 && s.inputWaits()
	}
	return works || received < lastLook
}
