package resume

import (
	"io"

	"github.com/libnet-go/libnet"
)

// Receive waits for the next message, and returns it in a slice that is the caller's. It waits over the ends of
// connections. The error is an [*Error], when the session has ended: what Receive has not returned by then, the peer
// counts as not acknowledged. Where there is a handler for messages, they go to that, and Receive waits for the end.
func (s *Session) Receive() (msg []byte, err error) {
	s.mu.Lock()
	r := s.rareLocked()
	for r.inbox.count() == 0 && s.phase < ended {
		r.arrived.Wait()
	}
	if err := s.errLocked(); err != nil {
		defer s.mu.Unlock()
		return nil, err
	}
	kind, msg := r.inbox.pop()
	if r.inbox.count() > 0 {
		r.arrived.Signal()
	}
	s.untaken--
	s.rare.takenBytes += int32(len(msg))
	l, a := s.dueLocked(s.rare.takenBytes >= s.ackEveryLocked().bytes, kind&flagAtOnce != 0)
	s.mu.Unlock()
	s.sendAck(l, a)
	return msg, nil
}

// ServeMessage handles a frame that has come on the connection. What comes on one that the session has left is dropped,
// uncounted.
func (l *link) ServeMessage(_ *libnet.Session, frame []byte) {
	if !l.serve(frame) && l.isCurrent() {
		l.session.finish(ErrProtocol)
	}
}

// serve reports whether the frame keeps to the protocol.
func (l *link) serve(frame []byte) (ok bool) {
	switch {
	case len(frame) == 0:
		return false
	case frame[0] < kindAck:
		data, ok := l.unwrap(frame)
		return ok && l.arrived(frame[0], data)
	case frame[0] == kindAck:
		n, ok := parseCount(frame)
		return ok && l.acknowledgement(n)
	case frame[0] == kindEnd:
		n, ok := parseCount(frame)
		return ok && l.peerEnded(n)
	case frame[0] == kindLastTaken:
		n, ok := parseCount(frame)
		return ok && l.peerTakesNoMore(n)
	}
	return false
}

func (l *link) isCurrent() bool {
	l.session.mu.Lock()
	defer l.session.mu.Unlock()
	return l.session.link == l
}

// unwrap returns the message in a frame. It notes the acknowledgement that travels with it, if one does.
func (l *link) unwrap(frame []byte) (data []byte, ok bool) {
	switch kind := frame[0]; {
	case kind&^(flagAck|flagAtOnce) != 0:
		return nil, false
	case kind&flagAck == 0:
		return frame[1:], true
	}
	n, data, ok := cutCount(frame[1:])
	return data, ok && l.acknowledgement(n)
}

// arrived hands a message over: to the handler, or to Receive.
func (l *link) arrived(kind byte, data []byte) (ok bool) {
	if handler := l.session.common.handler; handler != nil {
		l.deliver(handler, kind, data)
		return true
	}
	return l.keep(kind, data)
}

// keep keeps a message for Receive. What arrives is bounded by what the peer may have unacknowledged.
func (l *link) keep(kind byte, data []byte) (ok bool) {
	s := l.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link != l {
		return true
	}
	r := s.rareLocked()
	if r.inbox.count() >= s.limits.messages || len(data) > int(s.limits.bytes-r.inbox.size()) {
		return false
	}
	s.received++
	s.untaken++
	r.inbox.push(kind, data)
	r.arrived.Broadcast()
	return true
}

func (l *link) acknowledgement(n uint64) (ok bool) {
	s := l.session
	s.mu.Lock()
	if s.link != l {
		s.mu.Unlock()
		return true
	}
	ok = s.acknowledgeLocked(n)
	news, number := !s.confirmed, s.links
	s.confirmed = true
	s.feedAndUnlock()
	if news {
		s.common.end.confirmed(s, number)
	}
	if ok {
		s.endIfDrained()
	}
	return ok
}

// peerTakesNoMore notes that what n leaves unacknowledged stays so.
func (l *link) peerTakesNoMore(n uint64) (ok bool) {
	s := l.session
	s.mu.Lock()
	if s.link == l {
		s.rareLocked().peerTakesNoMore = true
	}
	s.mu.Unlock()
	return l.acknowledgement(n)
}

// peerEnded ends the session, unless this end has begun to and the peer has something that was not acknowledged.
func (l *link) peerEnded(taken uint64) (ok bool) {
	s := l.session
	s.mu.Lock()
	if s.link != l {
		s.mu.Unlock()
		return true
	}
	ok = s.acknowledgeLocked(taken)
	reason := error(io.EOF)
	if s.phase == draining && s.allAcknowledgedLocked() {
		reason = libnet.ErrSessionClosed
	}
	s.mu.Unlock()
	if ok {
		s.finish(reason)
	}
	return ok
}
