package libnet

import (
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
	return b.result
}

// A broadcast is one message on its way to many sessions.
type broadcast struct {
	msg    any
	frames []encodedFrame
	waited time.Duration // for codecs that others are making
	result BroadcastResult
}

// A codec that is only allocated is there at once; one that first talks to its peer may never be. A
// broadcast looks so often and for so long, at all sessions together.
const (
	codecPoll     = 100 * time.Microsecond
	codecPatience = 10 * time.Millisecond
)

func (b *broadcast) hasCodec(s *Session) bool {
	for !s.tryCodec() {
		if s.IsClosed() || b.waited >= codecPatience {
			return false
		}
		time.Sleep(codecPoll)
		b.waited += codecPoll
	}
	return true
}

// encodedFrame is the message in one protocol's encoding.
type encodedFrame struct {
	encoding any // see owner.encoding
	bytes    []byte
	err      error
}

func (b *broadcast) sendTo(s *Session) {
	if s.IsClosed() {
		b.result.Closed++
		return
	}
	err := b.offerTo(s)
	if err == ErrSessionBlocked {
		err = b.onFull(s)
	}
	switch {
	case err == nil:
		b.result.Sent++
	case err == ErrSessionBlocked:
		b.result.Blocked++
	case s.IsClosed() || err == ErrSlowConsumer:
		b.result.Closed++
	default:
		s.owner.eventLog().notEncoded(s, err)
	}
}

// offerTo queues the message for s. A synchronous session, whose queue has no room at all by itself,
// takes one; one whose codec takes its time to be made takes none.
func (b *broadcast) offerTo(s *Session) error {
	if !b.hasCodec(s) {
		if s.IsClosed() {
			return s.closedErr()
		}
		return ErrSessionBlocked
	}
	maxMessages, maxBytes := max(s.owner.sendQueue(), 1), s.owner.sendQueueBytes()
	if s.appender == nil {
		return s.offer(b.msg, maxMessages, maxBytes)
	}
	frame, err := b.frameFor(s)
	if err != nil {
		return err
	}
	return s.offerFrame(frame, maxMessages, maxBytes)
}

func (b *broadcast) onFull(s *Session) error {
	switch s.owner.OnFull {
	case CloseSession:
		go s.terminate(ErrSlowConsumer) // its close callbacks must not hold up the others
		return ErrSlowConsumer
	case DropOldest:
		for s.q.dropOldest() {
			if err := b.offerTo(s); err != ErrSessionBlocked {
				return err
			}
		}
	}
	s.owner.countBlocked()
	return ErrSessionBlocked
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
	return bytes, s.closeIfPanic(err)
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
