package resume

import (
	"errors"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/inside"
	"github.com/libnet-go/libnet/internal/usercode"
)

// fence has the session leave its connection, so that its counts stay what they are until the next one is attached, and
// returns them.
func (s *Session) fence() counts {
	s.mu.Lock()
	l := s.link
	s.mu.Unlock()
	if l != nil {
		s.detach(l)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.countsLocked()
}

func (s *Session) countsLocked() counts {
	received, taken := s.totalsLocked()
	s.ackSent = uint32(taken)
	if s.rare != nil {
		s.rare.takenBytes = 0
	}
	return counts{received, taken, s.common.config.limits()}
}

// attach has the session go on over conn, where the peer has come as far as it says, and returns our counts. Until
// opened, no message goes out on conn. An error is why the session cannot go on there: it is to be ended for it, unless
// it is errLeft.
func (s *Session) attach(conn *libnet.Session, number uint64, peer counts) (l *link, own counts, err error) {
	longest, late := maxLength(conn), encodesLate(conn) // which call the user's code
	s.mu.Lock()
	if err := s.mayAttachLocked(number, peer); err != nil {
		s.mu.Unlock()
		return nil, own, err
	}
	old := s.link
	s.leaveLocked()
	if s.links > 0 {
		s.rareLocked().resumes++
	}
	s.links = number
	s.opening, s.failed, s.confirmed, s.ackOwed, s.told = true, false, false, false, 0
	s.limits = s.common.config.limits().with(peer.limits)
	s.maxLength = int32(longest)
	l = s.newLinkLocked(conn, late)
	s.link = l
	err = s.goOnFromLocked(peer)
	own = s.countsLocked()
	s.stopWindowLocked()
	s.state.Store(int32(Connected))
	if s.rare != nil {
		s.rare.arrived.Broadcast()
	}
	s.mu.Unlock()
	if old != nil {
		go func() { _ = old.conn.CloseWithError(ErrTakenOver) }()
	}
	return l, own, err
}

// mayAttachLocked refuses a connection that is late, and counts that cannot be.
func (s *Session) mayAttachLocked(number uint64, peer counts) error {
	switch {
	case s.phase >= ended || number <= s.links:
		return errLeft
	case peer.received > s.sentLocked() || peer.received < s.peerAcked || peer.taken < s.peerAcked:
		return ErrProtocol
	}
	return nil
}

// goOnFromLocked has the message next that the peer has not received. The error says that one which is to be sent is
// too long for the connection.
func (s *Session) goOnFromLocked(peer counts) error {
	s.ahead = uint32(peer.received - s.peerAcked)
	s.acknowledgeLocked(peer.taken)
	size, fits := s.unacknowledged.look(int(s.ahead+s.held), int(min(s.limits.bytes, s.maxLength)))
	s.sentBytes = int32(size)
	if !fits {
		return libnet.ErrFrameTooLarge
	}
	return nil
}

// keepsAll says why conn cannot carry a session, if it cannot.
func keepsAll(conn *libnet.Session) error {
	if conn.Config().OnFull == libnet.DropOldest {
		return ErrDropOldest
	}
	return nil
}

// errLeft says that a session has ended, or is on a newer connection.
var errLeft = errors.New("libnet: resume: the session has gone on")

// encodesLate reports whether conn is one of [libnet.NewSession]'s, which encodes a message when it writes it.
func encodesLate(conn *libnet.Session) bool {
	addr, ok := usercode.Answer(conn.LocalAddr)
	return !ok || addr == nil
}

// maxLength is that of a message, as far as the connection's codec tells.
func maxLength(conn *libnet.Session) int {
	c, ok := conn.Codec().(interface{ MaxMessage() int })
	if !ok {
		return noBound
	}
	bound, ok := usercode.Answer(c.MaxMessage)
	if !ok {
		return noBound
	}
	return min(max(0, bound-maxOverhead), noBound)
}

// opened lets messages out on a connection, and has the session told of its end.
func (s *Session) opened(l *link) {
	s.mu.Lock()
	if s.link == l {
		s.opening = false
		if s.waitingLocked() > 0 {
			s.ackSoonLocked()
		}
		s.feedAndUnlock()
	} else {
		s.mu.Unlock()
	}
	inside.Keep(l.conn, l)
	s.endIfDrained()
}

// Ended is for [inside.Keep]: the connection has.
func (l *link) Ended() { l.session.detach(l) }

// detach is what follows the end of a connection.
func (s *Session) detach(l *link) {
	s.mu.Lock()
	if s.link != l {
		s.mu.Unlock()
		return
	}
	s.leaveLocked()
	s.state.Store(int32(Detached))
	keep, own := s.common.config.window() > 0, s.common.end.ownWindow()
	if keep && own {
		s.startWindowLocked()
	}
	if s.rare != nil {
		s.rare.arrived.Broadcast()
	}
	s.mu.Unlock()
	switch {
	case !keep:
		s.finish(l.conn.Err())
	case !own:
		s.common.end.detached(s, l.conn)
	}
}

func (s *Session) startWindowLocked() {
	number := s.links
	s.rareLocked().window = time.AfterFunc(s.common.config.window(), func() { s.windowOver(number) })
}

func (s *Session) stopWindowLocked() {
	if s.rare != nil && s.rare.window != nil {
		s.rare.window.Stop()
		s.rare.window = nil
	}
}

func (s *Session) windowOver(number uint64) {
	s.mu.Lock()
	over := s.link == nil && s.links == number
	s.mu.Unlock()
	if over {
		s.finish(ErrWindow)
	}
}
