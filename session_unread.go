package libnet

import (
	"io"
	"sync/atomic"
	"time"

	"github.com/libnet-go/libnet/internal/inside"
	"github.com/libnet-go/libnet/internal/sendqueue"
	"github.com/libnet-go/libnet/internal/sockets"
)

// A handed says how far the receiver has come, for an end that does not wait for it: the messages that it handed over
// to its user are received, and the bytes behind them dropped. Bit 63 says that the session's counters are final: no
// message is handed over any more. The next 31 bits count messages, the rest bytes, both without what is above.
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

// handOver is called by the receiver, with a message that it is about to hand over; false if that must not be any more.
// What NewCodec has read is handed over, too.
func (s *Session) handOver() bool {
	return s.handed.set(s.parsed, s.read.Load()-uint64(len(s.in.Unread())))
}

// notHanded is what of the bytes read has not been handed over.
func (s *Session) notHanded() int { return int(uint32(s.read.Load()) - uint32(s.handed.n.Load())) }

// noteLastReceived makes what was received since the receiver last waited a part of the final counters, and what it
// will not receive any more.
func (s *Session) noteLastReceived() {
	s.mu.Lock()
	messages, bytes, first := s.handed.end()
	read := s.read.Load()
	if first {
		s.noteDroppedLocked(int(uint32(read) - uint32(bytes)))
	}
	s.marks |= markCounted // before the server takes the counters into its sums
	s.mu.Unlock()
	if first {
		s.q.NoteLastReceived(messages, handedMessages, read)
	}
	if s.recvMu.TryLock() { // else whoever receives gives the storage back, as an event loop does
		if !s.serving.Started() {
			s.endBurst()
			s.in.Release()
		}
		s.recvMu.Unlock()
	}
}

// dropUnread gives the input's storage back. It belongs to the receiver. Of it and an end that comes meanwhile, one
// counts the bytes.
func (s *Session) dropUnread() {
	s.mu.Lock()
	if s.handed.set(s.parsed, s.read.Load()) {
		s.noteDroppedLocked(len(s.in.Unread()))
	}
	s.mu.Unlock()
	s.in.Release()
}

// throttle returns nil where no rate is limited.
func (s *Session) throttle() *throttle {
	if s.rare == nil {
		return nil
	}
	return s.rare.throttle
}

// overLimit reports whether the next message is beyond the rate limit. Where there is none, that costs a comparison,
// and no call.
func (s *Session) overLimit() bool { return s.rare != nil && s.beyondLimit() }

func (s *Session) beyondLimit() bool {
	t := s.rare.throttle
	return t != nil && t.Next() > s.now()
}

// pauses has the receiver pause, if a message beyond the limit is to wait.
func (s *Session) pauses() bool {
	if s.owner.RateLimit.End || s.pauseIsOver() {
		return false
	}
	s.rare.throttle.paused = true
	return true
}

func (s *Session) isPaused() bool {
	t := s.throttle()
	return t != nil && t.paused
}

// noteRate notes what was received.
func (s *Session) noteRate(messages, bytes int) {
	if s.rare != nil {
		s.takeRate(messages, bytes)
	}
}

func (s *Session) takeRate(messages, bytes int) {
	if t := s.rare.throttle; t != nil {
		t.Take(s.now(), messages, bytes)
	}
}

// plainRead is how many bytes a plain codec has read since it was last asked.
func (s *Session) plainRead() (n int) {
	if t := s.throttle(); t != nil {
		consumed := s.read.Load() - uint64(len(s.in.Unread()))
		n, t.consumed = int(consumed-t.consumed), consumed
	}
	return n
}

// pause waits until the next message may come, for a receiver that may wait. An error says that none may.
func (s *Session) pause() error {
	t := s.rare.throttle
	s.beforePause()
	s.in.Shrink()
	for s.beginPause(t) {
		<-t.wake
	}
	s.pauseEnded(t)
	if s.canReceive() && !s.mustYield() {
		return nil
	}
	s.dropUnread()
	return s.closedErr()
}

// beforePause is beforeWait for a receiver that does not wait for the peer.
func (s *Session) beforePause() {
	s.endBurst()
	if s.q.ReceiverPauses(s.parsed, s.read.Load()) {
		s.flushNow()
	}
}

// beginPause has endOfPause called when the next message may come; false if the pause is over. Who ends it behind that
// look finds the timer.
func (s *Session) beginPause(t *throttle) bool {
	now := s.now()
	wait := t.Next() - now
	if wait <= 0 {
		return false
	}
	if t.began == 0 {
		t.began = now
	}
	t.ResumeIn(time.Duration(wait))
	return !s.pauseIsOver()
}

// pauseEnded has the time that the pause took count for no timeout.
func (s *Session) pauseEnded(t *throttle) {
	t.paused = false
	t.Stop()
	if t.began != 0 {
		now := s.now()
		if start := s.frameStart.Load(); start != 0 {
			s.frameStart.CompareAndSwap(start, start+now-t.began)
		}
		t.began = 0
		t.ended.Store(now)
	}
	s.q.ReceiverWorks()
}

// lastPause is when it ended; 0 where there was none.
func (s *Session) lastPause() int64 {
	if !s.owner.limited {
		return 0
	}
	return s.rare.throttle.ended.Load()
}

// pauseIsOver reports whether there is a reason not to wait for the next message.
func (s *Session) pauseIsOver() bool { return !s.canReceive() || s.yieldAsked.Load() }

// endOfPause is called when a pause is over, on a goroutine of its own.
func (s *Session) endOfPause() {
	t := s.rare.throttle
	if s.serving.Started() {
		t.loop.Serve((*eventSession)(s))
		return
	}
	t.wakeUp()
}

// endPause has a receiver that pauses look whether it still has to. Any goroutine may call it.
func (s *Session) endPause() {
	if s.owner.limited {
		s.rare.throttle.wakeUp()
		s.rare.throttle.ResumeNow() // in event mode, and not here: the caller may hold what a handler wants
	}
}

func (t *throttle) wakeUp() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// What lies unread says two things that a receiver who does not come cannot: that a peer is not silent, and that it has
// ended.

// isBehind reports whether something came that is still to be received, in the kernel or in hand. Where nobody can
// tell, a receiver at work is taken to be behind. Where nobody has ever received, and OnSession is not about to, that
// must be more than at the last look.
func (s *Session) isBehind(c *clock) bool {
	if s.conn == nil {
		return false
	}
	unread, known := s.arrived()
	if !known {
		worked := c.worked
		c.worked = s.q.Receiver() >= sendqueue.ReceiverPaused
		return c.worked || worked // it may just have gone to wait
	}
	unread += s.inHand()
	comes := s.q.Receiver() != sendqueue.ReceiverAbsent || c.awaited.Load()&awaitOnSession != 0
	behind := unread > 0 && (comes || unread > c.unread)
	c.unread = unread
	return behind
}

// inHand is what a receiver who is at work on a message, or pauses, has read beyond it.
func (s *Session) inHand() int {
	if s.q.Receiver() < sendqueue.ReceiverPaused {
		return 0
	}
	return s.notHanded()
}

// peerLook is how often a session looks for its peer's end that somebody waits for: it is noticed within twice as long.
const peerLook = 2 * time.Second

// watchPeerLocked has the clock look for the peer's end, which nobody may notice who does not receive. In event mode
// that is a handler that is at work.
func (s *Session) watchPeerLocked() {
	switch {
	case s.conn == nil, s.state.Load() != sessionOpen, s.clock != nil && s.clock.look.Load() != 0:
	case s.serving.Started() && s.q.Receiver() < sendqueue.ReceiverActive:
	default:
		s.watchLocked(peerLook)
		s.clock.look.Store(after(s.now(), peerLook))
	}
}

// lookAtPeer ends a session whose peer has ended, unless something is to be received before. Where nobody has ever
// received, that is left lying for Linger.
func (s *Session) lookAtPeer(c *clock, now int64) {
	if at := c.look.Load(); at == 0 || now < at || s.IsClosed() {
		return
	}
	c.look.Store(after(now, peerLook))
	receiver := s.q.Receiver()
	switch {
	case s.serving.Started() && receiver < sendqueue.ReceiverActive:
		s.endLook(c)
		return
	case receiver == sendqueue.ReceiverWaiting || !sockets.PeerEnded(s.descriptor()):
		return
	}
	left, ok := s.leftUnread()
	if !ok {
		return
	}
	if c.over == 0 {
		c.over = now
	}
	end := io.EOF
	if !left && s.hasCodec() {
		if p, ok := s.parser().(partParser); ok && !p.PeerClosed(inside.Call{}) {
			end = io.ErrUnexpectedEOF
		}
	}
	if !left || receiver == sendqueue.ReceiverAbsent && now >= after(c.over, s.owner.linger()) {
		s.endOfPeer(end)
	}
}

// endLook takes a look back in event mode, unless a handler has come to work.
func (s *Session) endLook(c *clock) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.q.Receiver() < sendqueue.ReceiverActive {
		c.look.Store(0)
	}
}

// leftUnread reports whether something is to be received before the peer's end. What a layer has read of it nobody can
// tell, and so it may be. Not ok says that there is a receiver at work.
func (s *Session) leftUnread() (left, ok bool) {
	if s.sock == nil || s.sock.Layered() {
		return true, true
	}
	if s.serving.Started() {
		return s.notHanded() > 0 || sockets.Unread(s.descriptor()) > 0, true
	}
	if !s.recvMu.TryLock() {
		return false, false
	}
	defer s.recvMu.Unlock()
	return !s.in.Empty() || sockets.Unread(s.descriptor()) > 0, true
}

// A bufferedConn holds in this process what has arrived, and says how many bytes: libnettest's pipes do. A bufio.Reader
// that is embedded in a conn has a Buffered that means less, and may not be asked while it is read.
type bufferedConn interface{ Arrived(inside.Call) int }

// arrived is how many bytes have arrived and were not read, in the kernel or in this process; not known says that
// nobody can tell.
func (s *Session) arrived() (n int, known bool) {
	if b, ok := s.conn.(bufferedConn); ok {
		return b.Arrived(inside.Call{}), true
	}
	raw := s.descriptor()
	return sockets.Unread(raw), raw != nil
}

// inputWaits reports whether something has arrived that was not read.
func (s *Session) inputWaits() bool {
	n, _ := s.arrived()
	return n > 0
}
