package libnet

import (
	"math"
	"time"
)

// starvation is how late a session's timer may be before this process, and not the peer, is held to
// have been away: it was stopped, or got no CPU. The session's timeouts then begin again.
const starvation = 100 * time.Millisecond

// A clock is a session's one timer. It is set for the earliest thing that can be due and looks again
// when it fires: what happens in between only leaves a time stamp.
type clock struct {
	timer   *time.Timer
	due     int64 // on Session.now's scale, as all of these
	ticking bool

	// Owned by tick.
	from int64 // when HandshakeTimeout began to count
	beat int64 // when the next heartbeat is due

	// What beginAgain has granted already: a machine that is always late must not do so for ever.
	frameAgain, receivedAgain int64
}

func (c *clock) stop() {
	if c != nil {
		c.timer.Stop()
	}
}

// startClock sets the timer if Config asks for anything that a silent session needs it for.
func (s *Session) startClock() {
	first := earliest(s.owner.handshakeTimeout(), s.owner.idleTimeout(), s.owner.heartbeatInterval())
	if first < math.MaxInt64 {
		s.watch(first)
	}
}

// watch has the timer fire in d at the latest.
func (s *Session) watch(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	due := s.now() + int64(d)
	switch c := s.clock; {
	case s.state.Load() != sessionOpen:
	case c == nil:
		s.clock = &clock{due: due, from: openedNow, beat: openedNow + int64(s.owner.heartbeatInterval())}
		s.clock.timer = time.AfterFunc(d, s.tick)
	case !c.ticking && due < c.due:
		c.due = due
		c.timer.Reset(d)
	}
}

// tick runs on the timer's goroutine.
func (s *Session) tick() {
	c := s.beginTick()
	if c == nil {
		return
	}
	now := s.now()
	if now-c.due > int64(starvation) {
		s.beginAgain(c, now)
	}
	if err := s.expired(c, now); err != nil {
		s.terminate(err)
		return
	}
	if err := s.heartbeat(c, now); err != nil {
		s.terminate(err)
		return
	}
	s.endTick(c)
}

// beginTick returns nil when there is nothing to look after: a session that is closing has only
// WriteTimeout and Linger.
func (s *Session) beginTick() *clock {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Load() != sessionOpen || s.clock.ticking {
		return nil
	}
	s.clock.ticking = true
	return s.clock
}

// endTick sets the timer for what is due next, if anything is.
func (s *Session) endTick(c *clock) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.ticking = false
	c.due = s.nextDue(c)
	if c.due < math.MaxInt64 && s.state.Load() == sessionOpen {
		c.timer.Reset(time.Duration(max(c.due-s.now(), 0)))
	}
}

// beginAgain grants the peer its timeouts anew, each once: for the login, for a frame, for a silence.
func (s *Session) beginAgain(c *clock, now int64) {
	if c.from == openedNow {
		c.from = now
	}
	if received := s.received.Load(); c.receivedAgain == 0 || received != c.receivedAgain {
		s.received.Store(now)
		c.receivedAgain = now
	}
	if start := s.frameStart.Load(); start != 0 && start != c.frameAgain && s.frameStart.CompareAndSwap(start, now) {
		c.frameAgain = now
	}
}

// expired returns the timeout that has passed, if one has.
func (s *Session) expired(c *clock, now int64) error {
	handshake, frame, idle := s.dues(c)
	switch {
	case handshake <= now:
		return ErrHandshakeTimeout
	case frame <= now:
		return ErrFrameTimeout
	case idle <= now:
		if s.receiver.Load() != receiverAbsent && s.conn != nil && hasInput(s.conn) {
			s.received.Store(now) // it came, and the receiver is behind
			return nil
		}
		return ErrIdleTimeout
	}
	return nil
}

func (s *Session) nextDue(c *clock) int64 {
	handshake, frame, idle := s.dues(c)
	beat := int64(math.MaxInt64)
	if s.owner.heartbeatInterval() > 0 {
		beat = c.beat
	}
	return min(handshake, frame, idle, beat)
}

// dues returns when each timeout will have passed, the far future for one that cannot.
func (s *Session) dues(c *clock) (handshake, frame, idle int64) {
	handshake, frame, idle = math.MaxInt64, math.MaxInt64, math.MaxInt64
	if d := s.owner.handshakeTimeout(); d > 0 && s.q.received() == 0 {
		handshake = c.from + int64(d)
	}
	if start := s.frameStart.Load(); start != 0 {
		frame = start + int64(s.owner.frameTimeout())
	}
	if d := s.owner.idleTimeout(); d > 0 {
		idle = max(s.received.Load(), openedNow) + int64(d)
	}
	return handshake, frame, idle
}

// heartbeat sends one if it is due.
func (s *Session) heartbeat(c *clock, now int64) (err error) {
	interval := int64(s.owner.heartbeatInterval())
	if interval == 0 || now < c.beat || s.IsClosed() {
		return nil
	}
	c.beat = now + interval
	defer s.recovered("heartbeat", &err)
	if msg := s.owner.Heartbeat.Message(s); msg != nil {
		s.sendHeartbeat(msg)
	}
	return nil
}

// sendHeartbeat drops a message that finds no room: then there is no lack of things to send.
func (s *Session) sendHeartbeat(msg any) {
	if s.startCodec(); !s.hasCodec.Load() {
		return
	}
	if s.owner.sendQueue() == 0 {
		_ = s.Send(msg)
		return
	}
	_ = s.offer(msg, s.owner.queueLimit(), false)
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
