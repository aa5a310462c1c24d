package libnet

import (
	"net"
	"time"
)

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
