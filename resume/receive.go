package resume

import (
	"io"

	"github.com/libnet-go/libnet"
)

// Receive waits for the next message, and returns it in a slice that is the caller's. It waits over the ends of connections. The
// error is an [*Error], when the session has ended: what Receive has not returned by then, the peer counts as not acknowledged.
// Where there is a handler for messages, they go to that, and Receive waits for the end.
func (s *Session) Receive() (msg []byte, err error) {
	s.mu.Lock()
	r := s.rareLocked()
	for r.inbox.count == 0 && s.err == nil {
		r.arrived.Wait()
	}
	if s.err != nil {
		defer s.mu.Unlock()
		return nil, s.err
	}
	atOnce := r.inbox.first.messages[r.inbox.first.begin].wait
	msg = r.inbox.pop()
	if r.inbox.count > 0 {
		r.arrived.Signal()
	}
	conn, ack := s.tookLocked(len(msg), atOnce)
	s.mu.Unlock()
	s.sendAck(conn, ack)
	return msg, nil
}

// serve handles a frame that came on conn. What comes on a connection that the session has left is dropped, uncounted.
func (s *Session) serve(conn *libnet.Session, frame []byte) {
	ok := false
	switch {
	case len(frame) == 0:
	case frame[0] < kindAck:
		var m message
		if m, ok = parseMessage(frame); ok {
			ok = s.arrived(conn, m)
		}
	case frame[0] == kindAck:
		var n uint64
		if n, ok = parseCount(frame); ok {
			ok = s.acknowledgement(conn, n)
		}
	case frame[0] == kindEnd:
		var n uint64
		if n, ok = parseCount(frame); ok {
			ok = s.peerEnded(conn, n)
		}
	}
	if !ok && s.Conn() == conn {
		s.finish(ErrProtocol)
	}
}

// arrived hands a message over: to the handler, or to Receive.
func (s *Session) arrived(conn *libnet.Session, m message) (ok bool) {
	if m.kind&flagAck != 0 && !s.acknowledgement(conn, m.ack) {
		return false
	}
	handler := s.end.handler()
	s.mu.Lock()
	for s.conn == conn && s.delivering { // on the connection before
		s.rareLocked().arrived.Wait()
	}
	if s.conn != conn {
		s.mu.Unlock()
		return true
	}
	if handler == nil {
		defer s.mu.Unlock()
		return s.keepLocked(m)
	}
	s.received++
	s.delivering = true
	s.mu.Unlock()
	returned := false
	defer func() { s.handled(len(m.data), m.kind&flagAtOnce != 0, returned) }()
	handler(s, m.data)
	returned = true
	return true
}

// keepLocked keeps a message for Receive. What arrives is bounded by what the peer may have unacknowledged.
func (s *Session) keepLocked(m message) (ok bool) {
	r := s.rareLocked()
	if r.inbox.count >= s.limits.messages || len(m.data) > s.limits.bytes-r.inbox.size {
		return false
	}
	s.received++
	r.inbox.push(m.data, false, m.kind&flagAtOnce != 0)
	r.arrived.Broadcast()
	return true
}

// handled follows the handler. A panic goes on from here, to whoever serves the connection.
func (s *Session) handled(length int, atOnce, returned bool) {
	if !returned {
		s.finish(errHandler)
	}
	s.mu.Lock()
	s.delivering = false
	var conn *libnet.Session
	var ack *message
	if returned && s.phase != ended { // else the peer, and who asked for the counters, was told without it
		conn, ack = s.tookLocked(length, atOnce)
	}
	if s.rare != nil {
		s.rare.arrived.Broadcast()
	}
	s.mu.Unlock()
	s.sendAck(conn, ack)
}

func (s *Session) acknowledgement(conn *libnet.Session, n uint64) (ok bool) {
	s.mu.Lock()
	if s.conn != conn {
		s.mu.Unlock()
		return true
	}
	ok = s.acknowledgeLocked(n)
	news, link := !s.confirmed, s.link
	s.confirmed = true
	s.feedAndUnlock()
	if news {
		s.end.confirmed(s, link)
	}
	if ok {
		s.endIfDrained()
	}
	return ok
}

// peerEnded ends the session, unless this end has begun to and the peer has something that was not acknowledged.
func (s *Session) peerEnded(conn *libnet.Session, taken uint64) (ok bool) {
	s.mu.Lock()
	if s.conn != conn {
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
