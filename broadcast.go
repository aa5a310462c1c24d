package libnet

import (
	"context"
	"reflect"
	"time"
)

// shareAt is the frame size from which a broadcast's sessions share one copy: below it, copying is
// cheaper than a write of its own (measured, see bench/README.md, "Where copying ends").
const shareAt = 8 << 10

// BroadcastResult says what a broadcast came to: a count of sessions each.
type BroadcastResult struct {
	Sent    int // queued the message
	Blocked int // had no room: they refused the message, or dropped it
	Closed  int // were closed, or are now for want of room
}

// Broadcast sends msg to all open sessions, as [Group.Broadcast] does.
func (m *Manager) Broadcast(msg any) BroadcastResult {
	b := broadcast{msg: msg}
	for s := range m.All() {
		b.sendTo(s)
	}
	return b.end()
}

// A broadcast is one message on its way to many sessions.
type broadcast struct {
	msg    any
	frames []encodedFrame
	waited time.Duration // for codecs that were at work on another message for too long
	late   []*Session    // have no codec yet: their turn comes last
	result BroadcastResult
}

// sendTo sends the message to s, if s has a codec.
func (b *broadcast) sendTo(s *Session) {
	if s.hasCodec.Load() {
		b.count(s, b.offerTo(s))
		return
	}
	b.late = append(b.late, s)
}

// end sends the message to those that had no codec, as far as they have one now, and says what came of it all.
func (b *broadcast) end() BroadcastResult {
	makeCodecs(b.late)
	for _, s := range b.late {
		if s.hasCodec.Load() {
			b.count(s, b.offerTo(s))
		} else {
			b.count(s, ErrSessionBlocked)
		}
	}
	return b.result
}

func (b *broadcast) count(s *Session, err error) {
	if err == ErrSessionBlocked && !s.IsClosed() {
		err = b.blocked(s)
	}
	switch {
	case err == nil:
		b.result.Sent++
	case s.IsClosed(): // or is now for want of room
		b.result.Closed++
	case err == ErrSessionBlocked:
		b.result.Blocked++
	default:
		s.owner.eventLog().notEncoded(s, err)
	}
}

// blocked is Session.blocked for one who does not wait for the end of a slow consumer.
func (b *broadcast) blocked(s *Session) error {
	if s.owner.OnFull == CloseSession {
		s.endSoon(ErrSlowConsumer)
		return ErrSlowConsumer
	}
	return s.blocked()
}

// offerTo queues the message for s. A synchronous session, whose queue has no room at all by itself,
// takes one; one whose codec stays at work on another message takes none.
func (b *broadcast) offerTo(s *Session) error {
	if s.IsClosed() {
		return s.closedErr()
	}
	limit := s.owner.queueLimit()
	limit.messages = max(limit.messages, 1)
	switch {
	case s.conn == nil:
		return s.offer(b.msg, limit)
	case s.appender == nil:
		return b.offerInTurn(s, limit)
	}
	frame, err := b.frameFor(s)
	if err != nil {
		return err
	}
	return s.offerFrame(frame, limit)
}

// offerInTurn is Session.offerInTurn that waits for another's message only as long as an ordinary codec takes.
func (b *broadcast) offerInTurn(s *Session, limit queueLimit) error {
	began := time.Now()
	bound := min(codecPatience, maxSlowCodecs*codecPatience-b.waited)
	if !s.takeTurnWithin(context.Background(), bound) {
		b.waited += time.Since(began)
		return ErrSessionBlocked
	}
	defer s.giveTurn()
	return s.offerPlain(b.msg, limit)
}

// offerFrame queues a frame that was encoded for many. From shareAt bytes on it is not copied.
func (s *Session) offerFrame(frame []byte, limit queueLimit) error {
	by, err := byNobody, error(nil)
	if len(frame) >= shareAt {
		by, err = s.q.putShared(frame, limit)
	} else {
		by, err = s.q.putCopy(nil, frame, limit)
	}
	s.flushBy(by)
	return s.refused(err)
}

// encodedFrame is the message in one protocol's encoding.
type encodedFrame struct {
	encoding any // see owner.encoding
	bytes    []byte
	err      error
}

// frameFor returns the message as s encodes it, encoding it if s is the first of its protocol.
func (b *broadcast) frameFor(s *Session) ([]byte, error) {
	for i := range b.frames {
		if f := &b.frames[i]; f.encoding == s.owner.encoding {
			return f.bytes, f.err
		}
	}
	bytes, err := s.appendFrame(b.msg)
	if err == nil && len(bytes) > s.maxFrame() {
		bytes, err = nil, ErrFrameTooLarge
	}
	b.frames = append(b.frames, encodedFrame{s.owner.encoding, bytes, err})
	return bytes, s.endIfPanic(err)
}

// encodingOf identifies what o's sessions make of a message: their protocol, where protocols can be
// compared, and the bound that the user set.
func encodingOf(o *owner) any {
	if !reflect.ValueOf(o.protocol).Comparable() {
		return o
	}
	return encoding{o.protocol, o.MaxMessage}
}

type encoding struct {
	protocol   Protocol
	maxMessage int
}
