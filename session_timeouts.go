package libnet

import (
	"math"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/libnet-go/libnet/internal/sendqueue"
)

// starvation is how late a session's timer may be before this process, and not the peer, is held to
// have been away: it was stopped, or got no CPU. The session's timeouts then begin again.
const starvation = 100 * time.Millisecond

// A clock is a session's one timer. It is set for the earliest thing that can be due and looks again
// when it fires: what happens in between only leaves a time stamp.
type clock struct {
	timer   *time.Timer
	session atomic.Pointer[Session] // nil once the session has ended: the runtime may keep a stopped timer until it was due
	awaited atomic.Int32            // bits of admission: what HandshakeTimeout still waits for
	beating atomic.Bool             // a heartbeat is being made or sent
	taken   atomic.Int64            // what a slow peer had taken when it was last looked at
	giveUp  atomic.Int64            // when a session is ended one of whose directions has; 0: not
	look    atomic.Int64            // when to look for the peer's end; 0: nobody has asked
	slow    atomic.Int64            // when to look what a slow peer has taken; 0: not
	quiet   atomic.Int64            // from when on a silence counts, where that is later than what came last; tick's to set

	// Guarded by the session's mu.
	head    frameHead // of the incomplete frame that was waited for last
	proxied *proxied  // nil but for a session whose peer is a proxy; immutable
	due     int64     // on Session.now's scale, as all of these; while ticking, what others have asked for
	ticking bool

	// Owned by tick.
	worked bool  // the receiver was at work when IdleTimeout last had passed, on a conn that does not tell what has arrived
	inVain bool  // a slow peer had taken nothing at the last look
	again  bool  // beginAgain has set quiet
	from   int64 // when HandshakeTimeout began to count
	beat   int64 // when the next heartbeat is due

	lateLogin, lateFrame, lateInput recheck

	unread int   // what the receiver was behind when IdleTimeout last had passed
	over   int64 // when the peer was first seen to have ended; 0: not

	frameAgain int64 // what beginAgain has granted already, as again: a machine that is always late must not do so for ever
}

// What admission takes.
const (
	awaitMessage   int32 = 1 << iota // a first complete message
	awaitOnSession                   // OnSession's return
	awaitTLS                         // the handshake of TLS, where nothing bounds the rest
)

func (s *Session) newClock(due int64) *clock {
	c := &clock{due: due, from: openedNow, beat: openedNow + int64(s.owner.heartbeatInterval())}
	c.session.Store(s)
	c.awaited.Store(awaitMessage)
	if srv := s.owner.server; srv != nil && srv.OnSession != nil {
		c.awaited.Store(awaitMessage | awaitOnSession)
	}
	return c
}

func (c *clock) stop() {
	if c != nil {
		c.session.Store(nil)
		c.timer.Stop()
	}
}

// startClock sets the timer if Config asks for anything that a silent session needs it for.
func (s *Session) startClock() {
	tls := s.tlsBound()
	first := earliest(s.owner.handshakeTimeout(), tls, s.owner.idleTimeout(), s.owner.heartbeatInterval())
	if first == math.MaxInt64 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchLocked(first)
	if tls > 0 && s.clock != nil {
		s.clock.awaited.Or(awaitTLS)
	}
}

// watch has the timer fire in d at the latest.
func (s *Session) watch(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchLocked(d)
}

// giveUpIn has the session end in d at the latest, unless it is closing.
func (s *Session) giveUpIn(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchLocked(d)
	if s.clock != nil {
		s.clock.giveUp.CompareAndSwap(0, after(s.now(), d))
	}
}

func (s *Session) watchLocked(d time.Duration) {
	now := s.now()
	due := after(now, d)
	switch c := s.clock; {
	case s.state.Load() == sessionClosed:
	case c == nil:
		s.clock = s.newClock(due)
		s.clock.timer = time.AfterFunc(d, s.clock.tick)
	case due < c.due:
		c.due = due
		if !c.ticking {
			c.timer.Reset(d)
		}
	}
}

// admitted notes what HandshakeTimeout need not wait for any more.
func (s *Session) admitted(what int32) {
	s.mu.Lock()
	c := s.clock
	s.mu.Unlock()
	if c != nil {
		c.awaited.And(^what)
	}
}

// askClock has the timer fire now: the clock may have nothing left to do, and then goes.
func (s *Session) askClock() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.clock; c != nil && !c.ticking {
		c.due = s.now()
		c.timer.Reset(0)
	}
}

// tick runs on the timer's goroutine, with no lock held. A heartbeat comes last, when the timer is set again:
// it may wait for the peer, or for its user.
func (c *clock) tick() {
	s := c.session.Load()
	if s == nil {
		return
	}
	due, ok := s.beginTick(c)
	if !ok {
		return
	}
	returned := false
	defer func() {
		if !returned { // a conn of the user's has ended the goroutine, on which all timeouts rest
			go s.terminate(ErrSessionClosed)
		}
	}()
	s.ticked(c, due)
	returned = true
}

// ticked is tick where nothing ends the goroutine.
func (s *Session) ticked(c *clock, due int64) {
	now := s.now()
	if now-due > int64(starvation) {
		s.beginAgain(c, now)
	}
	err := s.expired(c, now)
	if err == nil {
		err = s.lookAtSlow(c, now)
	}
	if err != nil {
		s.terminate(err)
		return
	}
	s.lookAtPeer(c, now)
	beats := s.beatIsDue(c, now)
	s.endTick(c, s.nextDue(c))
	if beats {
		s.sendBeat(c)
	}
}

// beginTick returns what the timer was set for.
func (s *Session) beginTick(c *clock) (due int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Load() == sessionClosed || s.clock != c || c.ticking {
		return 0, false
	}
	due, c.due = c.due, math.MaxInt64
	c.ticking = true
	return due, true
}

// endTick sets the timer for what is due next, if anything is.
func (s *Session) endTick(c *clock, next int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.ticking = false
	c.due = min(c.due, next)
	switch {
	case s.state.Load() == sessionClosed:
	case c.due < math.MaxInt64:
		c.timer.Reset(time.Duration(max(c.due-s.now(), 0)))
	case s.owner.setsNoClock() && c.proxied == nil: // it has no more to do, and remembers nothing that another would have to know
		c.session.Store(nil)
		s.clock = nil
	}
}

// setsNoClock reports whether a session that waits needs no clock.
func (o *owner) setsNoClock() bool {
	return o.handshakeTimeout() == 0 && o.idleTimeout() == 0 && o.heartbeatInterval() == 0
}

// beginAgain grants the peer its timeouts anew, each once: for the login, for a frame, for a silence.
func (s *Session) beginAgain(c *clock, now int64) {
	if c.from == openedNow {
		c.from = now
	}
	c.proxied.beginAgain(now)
	if !c.again || s.received.Load() > c.quiet.Load() {
		c.quiet.Store(now)
		c.again = true
	}
	if start := s.frameStart.Load(); start != 0 && start != c.frameAgain && s.frameStart.CompareAndSwap(start, now) {
		c.frameAgain = now
	}
}

// expired returns the timeout that has passed, if one has.
func (s *Session) expired(c *clock, now int64) error {
	handshake, frame, idle := s.dues(c)
	switch {
	case s.givenUp(c) <= now:
		return s.closedErr() // why its output has ended
	case handshake <= now:
		return s.loginIsLate(c, now)
	case s.proxyHeaderDue(c.proxied) <= now:
		return s.proxyHeaderIsLate(c.proxied, now)
	case frame <= now:
		return s.frameIsLate(c, now)
	case idle <= now:
		return s.inputIsLate(c, now)
	}
	return nil
}

// What is late ends the session, unless the peer has done its part: what has arrived may wait for the receiver, or the
// receiver be at work on it. One that has just gone to wait, or whose read has just returned, cannot be told from one
// that waits in vain: therefore a recheck.

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
	if s.owner.handshakeTimeout() == 0 {
		return s.tlsIsLate(c, now)
	}
	awaited := c.awaited.Load()
	switch {
	case awaited == 0 && !s.IsClosed():
		return nil // it came meanwhile
	case s.owesMessage(c):
		c.from = now
		return nil
	case s.lastPause() > c.from:
		c.from = s.lastPause()
		return nil
	case awaited == awaitMessage && !s.IsClosed() && s.mayBeTaking(c.from) && c.lateLogin.grant(c.from, now):
		return nil
	}
	return ErrHandshakeTimeout
}

// owesMessage reports whether only a first message is missing, and it is this side that does not receive it.
func (s *Session) owesMessage(c *clock) bool {
	if s.conn == nil || s.IsClosed() || c.awaited.Load() != awaitMessage || c.proxied.isBeingRead() ||
		s.sock != nil && s.sock.PendingHandshake() != nil && !s.sock.AwaitsUse() {
		return false
	}
	receiver := s.q.Receiver()
	return receiver == sendqueue.ReceiverPaused || receiver != sendqueue.ReceiverWaiting && s.inputWaits()
}

// frameIsLate returns what becomes of a session whose FrameTimeout has passed.
func (s *Session) frameIsLate(c *clock, now int64) error {
	start := s.frameStart.Load()
	switch {
	case start == 0 || after(start, s.owner.frameTimeout()) > now:
		return nil // it came meanwhile
	case s.staysFromWaiting(): // it works on what has come
		c.lateFrame.at = after(now, starvation)
		return nil
	case c.lateFrame.at > start && c.lateFrame.grant(start, now): // at the last look it did
		return nil
	}
	return s.frameTimeout(c)
}

// staysFromWaiting reports whether the receiver does not wait for the peer. One at work, which may be about to wait,
// has some microseconds for it: a peer that sends a byte at a time gets no more than its time for a frame.
func (s *Session) staysFromWaiting() bool {
	for range 1000 {
		if receiver := s.q.Receiver(); receiver < sendqueue.ReceiverActive {
			return receiver != sendqueue.ReceiverWaiting
		}
		runtime.Gosched()
	}
	return true
}

// inputIsLate returns what becomes of a session whose IdleTimeout has passed.
func (s *Session) inputIsLate(c *clock, now int64) error {
	since, unread := s.silentSince(c), c.unread
	switch {
	case s.readAhead():
		return nil
	case s.isBehind(c):
		c.quiet.Store(now)
		c.again = false
		return nil
	case s.silentSince(c) != since: // it came meanwhile
		return nil
	case unread > 0 && c.unread == 0 && c.lateInput.grant(since, now): // what it was behind has been read since
		return nil
	}
	return ErrIdleTimeout
}

// silentSince is when something last came, or what is as good.
func (s *Session) silentSince(c *clock) int64 { return max(s.received.Load(), c.quiet.Load()) }

// mayBeTaking reports whether the receiver has, for all that can be told, just come for what was seen to wait at
// lastLook: it has not noted a read since, or is at work. Where there was no such look, it must be the first that it
// reads.
func (s *Session) mayBeTaking(lastLook int64) bool {
	works, received := s.q.Receiver() >= sendqueue.ReceiverActive, s.received.Load()
	if lastLook <= openedNow {
		return works && s.frameStart.Load() == 0 || received == 0 && s.inputWaits()
	}
	return works || received < lastLook
}

func (s *Session) nextDue(c *clock) int64 {
	handshake, frame, idle := s.dues(c)
	beat := int64(math.MaxInt64)
	if s.owner.heartbeatInterval() > 0 && !c.beating.Load() && !s.IsClosed() {
		beat = c.beat
	}
	look := int64(math.MaxInt64)
	if at := c.look.Load(); at != 0 && !s.IsClosed() {
		look = at
	}
	slow := c.slow.Load()
	if slow == 0 {
		slow = math.MaxInt64
	}
	return min(handshake, s.proxyHeaderDue(c.proxied), frame, idle, beat, look, slow, s.givenUp(c))
}

// givenUp returns when that is. What is closing has another bound.
func (s *Session) givenUp(c *clock) int64 {
	at := c.giveUp.Load()
	if at == 0 || s.state.Load() > sessionOutputFailed {
		return math.MaxInt64
	}
	return at
}

// dues returns when each timeout will have passed, the far future for one that cannot. Of a session that is
// closing, which has WriteTimeout and Linger, HandshakeTimeout bounds the handshake of TLS.
func (s *Session) dues(c *clock) (handshake, frame, idle int64) {
	handshake, frame, idle = math.MaxInt64, math.MaxInt64, math.MaxInt64
	open := !s.IsClosed()
	awaited := c.awaited.Load()
	switch d := s.owner.handshakeTimeout(); {
	case d == 0 && open && awaited&awaitTLS != 0:
		handshake = after(c.from, s.owner.tlsTimeout())
	case d > 0 && (open && awaited != 0 || !open && s.inHandshake()):
		handshake = max(after(c.from, d), c.lateLogin.at)
	}
	if !open {
		return handshake, frame, idle
	}
	if start := s.frameStart.Load(); start != 0 {
		frame = max(after(start, s.owner.frameTimeout()), c.lateFrame.at)
	}
	if d := s.owner.idleTimeout(); d > 0 {
		idle = max(after(max(s.silentSince(c), s.lastPause(), openedNow), d), c.lateInput.at)
	}
	return handshake, frame, idle
}

// after is start + d, or the far future.
func after(start int64, d time.Duration) int64 { return start + min(int64(d), math.MaxInt64-start) }

// inHandshake reports whether the handshake of TLS may still be under way. Nobody can ask crypto/tls without
// waiting for it; but it is over once a byte has passed, either way.
func (s *Session) inHandshake() bool {
	return s.conn != nil && s.secure() && s.received.Load() == 0 && s.Stats().BytesOut == 0
}

// beatIsDue reports whether the caller is to send a heartbeat. One that is late comes once: the time for the
// next begins now.
func (s *Session) beatIsDue(c *clock, now int64) bool {
	interval := s.owner.heartbeatInterval()
	if interval == 0 || now < c.beat || s.IsClosed() || c.beating.Load() {
		return false
	}
	c.beat = after(now, interval)
	c.beating.Store(true)
	return true
}

// sendBeat sends a heartbeat. The timer, which others may have fire meanwhile, waits for it with the next.
func (s *Session) sendBeat(c *clock) {
	var err error = ErrSessionClosed // stays if Message ends the goroutine
	defer func() {
		if r := recover(); r != nil {
			err = s.panicked("heartbeat", r)
		}
		c.beating.Store(false)
		if err != nil {
			s.terminate(err)
			return
		}
		s.watch(s.owner.heartbeatInterval())
	}()
	if msg := s.owner.Heartbeat.Message(s); msg != nil {
		s.sendHeartbeat(msg)
	}
	err = nil
}

// sendHeartbeat drops a message that finds no room: then there is no lack of things to send.
func (s *Session) sendHeartbeat(msg any) {
	if s.startCodec(); !s.hasCodec() {
		return
	}
	if s.owner.sendQueue() == 0 {
		_ = s.Send(msg)
		return
	}
	limit := s.owner.queueLimit()
	limit.Drop = false
	_ = s.endIfPanic(s.offer(msg, limit))
}

// earliest returns the smallest of those that are on.
func earliest(ds ...time.Duration) time.Duration {
	first := time.Duration(math.MaxInt64)
	for _, d := range ds {
		if d > 0 {
			first = min(first, d)
		}
	}
	return first
}
