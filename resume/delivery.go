package resume

import (
	"sync/atomic"

	"github.com/libnet-go/libnet"
)

// A link is a session on one of its connections.
type link struct {
	// Immutable.
	session *Session
	conn    *libnet.Session

	// gate counts what comes for a handler, which takes no lock of the session's for a message: gateOne for each that
	// has arrived, and flags. What has arrived was taken, but for the one that the handler is at work on.
	gate atomic.Uint64
	due  atomic.Uint32 // the count, its low bits, at which an acknowledgement goes by itself; written under the session's lock
	room int32         // how many bytes may be taken before one does; belongs to the receiver
}

const (
	gateLeft uint64 = 1 << iota // the session has left the connection: what comes is dropped, uncounted
	gateBusy                    // the handler is at work
	gateHeld                    // it is at work on a message of a connection before, and the first one waits for that
	gateLate                    // for good: conn keeps what it is given until that is written
	gateOne
)

func (s *Session) newLinkLocked(conn *libnet.Session, encodesLate bool) *link {
	every := s.ackEveryLocked()
	l := &link{session: s, conn: conn, room: every.bytes}
	l.due.Store(uint32(every.messages))
	if encodesLate {
		l.gate.Or(gateLate)
	}
	if s.rare != nil && s.rare.busy != nil {
		l.gate.Or(gateHeld)
	}
	return l
}

func (l *link) encodesLate() bool { return l.gate.Load()&gateLate != 0 }

// leaveLocked has the session leave its connection.
func (s *Session) leaveLocked() {
	l := s.link
	if l == nil {
		return
	}
	s.link = nil
	gate := l.gate.Or(gateLeft)
	s.received += gate / gateOne
	if gate&gateBusy != 0 {
		s.untaken++
		s.rareLocked().busy = l
	}
}

// totalsLocked returns how many messages have arrived, and how many of these the application has taken.
func (s *Session) totalsLocked() (received, taken uint64) {
	received, taken = s.received, s.takenLocked()
	if s.link != nil {
		gate := s.link.gate.Load()
		received += gate / gateOne
		taken += gate / gateOne
		if gate&gateBusy != 0 {
			taken--
		}
	}
	return received, taken
}

// deliver gives the handler a message.
func (l *link) deliver(handler func(*Session, []byte), kind byte, data []byte) {
	if !l.enter() {
		return
	}
	returned := false
	defer func() { l.handled(len(data), kind&flagAtOnce != 0, returned) }()
	handler(l.session, data)
	returned = true
}

// enter counts a message that has arrived; false if it is to be dropped.
func (l *link) enter() bool {
	for {
		gate := l.gate.Load()
		switch {
		case gate&gateLeft != 0:
			return false
		case gate&gateHeld != 0:
			l.awaitTurn()
		case l.gate.CompareAndSwap(gate, gate+gateOne|gateBusy):
			return true
		}
	}
}

// awaitTurn waits for the handler's return from a message of the connection before.
func (l *link) awaitTurn() {
	s := l.session
	s.mu.Lock()
	defer s.mu.Unlock()
	for l.gate.Load()&(gateHeld|gateLeft) == gateHeld {
		s.rareLocked().arrived.Wait()
	}
}

// handled follows the handler. A panic goes on from here, to whoever serves the connection.
func (l *link) handled(length int, atOnce, returned bool) {
	s := l.session
	if !returned {
		s.finish(errHandler)
	}
	gate := l.gate.Add(^(gateBusy - 1)) // it ends
	l.room = max(l.room, 0) - int32(min(length, noBound))
	switch {
	case gate&gateLeft != 0, atOnce, !s.ackWaits.Load(), // this one after the gate: see ackDue
		int32(uint32(gate/gateOne)-l.due.Load()) >= 0, l.room <= 0:
		l.handledLast(atOnce)
	}
}

// handledLast is for a message behind which there is something to do.
func (l *link) handledLast(atOnce bool) {
	s := l.session
	s.mu.Lock()
	if s.rare != nil && s.rare.busy == l {
		s.doneLocked()
	}
	due, a := s.dueLocked(l.room <= 0, atOnce)
	if a != nil {
		l.room = s.ackEveryLocked().bytes
	}
	s.mu.Unlock()
	s.sendAck(due, a)
}

// doneLocked follows the handler's return from a message of a connection that the session has left.
func (s *Session) doneLocked() {
	s.rare.busy = nil
	if s.phase < ended { // else the peer, and who asked for the counters, was told without it
		s.untaken--
	}
	if s.link != nil {
		s.link.gate.And(^gateHeld)
	}
	s.rare.arrived.Broadcast()
}
