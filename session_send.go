package libnet

import (
	"context"
	"sync"
	"time"

	"github.com/libnet-go/libnet/internal/sendqueue"
)

// Send queues msg for the peer, in the order of the calls, and returns without waiting for it: nil
// means that the message will be written or counted in Stats().Discarded. The message is encoded before
// Send returns and may then be changed. Errors: [ErrSessionClosed] or the reason of the session's end;
// [ErrSessionBlocked] or [ErrSlowConsumer] when the queue is full, as Config.OnFull says;
// [ErrFrameTooLarge], and errors that wrap [ErrEncode], for a message that cannot be sent: these leave
// the session open.
//
// On a synchronous session (SendQueue 0) Send writes before it returns, one write a message, and waits
// while others send, in the order they came; nil means that the kernel has the message, and an error of the
// transport closes the session.
//
// Send runs the codec and the message's own methods, with no lock held, and no other code of the user's: a session that
// has to end, ends on a goroutine of its own. With a codec that is not a [FrameAppender] one Send at a time encodes;
// who waits for another's codec gets [ErrSessionBlocked] after Config.WriteTimeout. Before there is a codec Send waits
// for its making, in which a NewCodec may wait for the peer: on a server HandshakeTimeout bounds that.
func (s *Session) Send(msg any) error {
	if !s.initCodec() || s.IsClosed() {
		return s.closedErr()
	}
	var err error
	if s.owner.limit.Messages == 0 {
		err = s.sendNow(sendqueue.Background, msg)
	} else {
		err = s.offer(msg, s.owner.queueLimit())
	}
	if err != nil {
		return s.notSent(err)
	}
	return nil
}

// SendBytes is [Session.Send] of a []byte. It spares what Go allocates to put a slice into an any: where the codec
// sends bytes as they are (package codec's Bytes, behind any of its framings) it allocates nothing. Any other codec
// gets the slice as from Send.
func (s *Session) SendBytes(msg []byte) error {
	if !s.initCodec() || s.IsClosed() {
		return s.closedErr()
	}
	if s.owner.limit.Messages > 0 {
		if h, _ := s.bytesHeader(msg); h.Len > 0 {
			by, err := s.q.PutCopy(h, msg, &s.owner.limit)
			if err != nil {
				return s.notSent(s.refused(err))
			}
			if by != sendqueue.ByNobody {
				s.flushBy(by)
			}
			return nil
		}
	}
	boxed := s.box(msg)
	err := s.Send(boxed)
	unbox(boxed)
	return err
}

// notSent is what Send answers for err. It ends the session where that is what is to follow.
func (s *Session) notSent(err error) error {
	switch {
	case err == ErrSessionBlocked:
		return s.blocked()
	case err == errBusy:
		s.owner.countBlocked()
		return ErrSessionBlocked
	}
	return s.endIfPanic(err)
}

// SendContext is [Session.Send] that waits for room in a full queue, whatever Config.OnFull says, behind those who
// came before. It returns ctx's error when ctx ends first; the message is then not queued.
//
// On a synchronous session it waits until the kernel has the message. When ctx ends while it is being written, which
// cannot be undone, SendContext gives the write 5 ms to return; what is left of the message is then written without the
// caller, within Config.WriteTimeout: the peer may get it though SendContext returned ctx's error. The same holds from
// when a codec that is not a [FrameAppender] has encoded the message.
func (s *Session) SendContext(ctx context.Context, msg any) error {
	return s.sendContext(sendqueue.NewContext(ctx), msg)
}

// SendBytesContext is [Session.SendContext] of a []byte, as SendBytes is Send's.
func (s *Session) SendBytesContext(ctx context.Context, msg []byte) error {
	boxed := s.box(msg)
	err := s.SendContext(ctx, boxed)
	unbox(boxed)
	return err
}

func (s *Session) sendContext(ctx sendqueue.Context, msg any) error {
	if err := s.awaitCodec(ctx); err != nil {
		return err
	}
	var err error
	switch {
	case s.owner.sendQueue() == 0:
		err = s.sendNow(ctx, msg)
	case s.framing().isPlain:
		err = s.waitInTurn(ctx, msg)
	default:
		err = s.wait(ctx, msg)
	}
	if err == errBusy {
		return ErrSessionBlocked
	}
	if err != nil {
		return s.endIfPanic(err)
	}
	return nil
}

// awaitCodec waits until the session can send, or says why it cannot.
func (s *Session) awaitCodec(ctx sendqueue.Context) error {
	if !s.hasCodec() && ctx.Err() == nil {
		if made := s.startCodec(); made != nil { // else it has just been made
			select {
			case <-made:
			case <-ctx.Done():
			}
		}
	}
	switch {
	case s.IsClosed():
		return s.closedErr()
	case ctx.Err() != nil:
		return ctx.Err()
	case !s.hasCodec():
		return s.closedErr()
	}
	return nil
}

// queueLimit returns a copy, for who changes it.
func (o *owner) queueLimit() sendqueue.Limit { return o.limit }

// blocked does what Config.OnFull says with a message that found no room.
func (s *Session) blocked() error {
	if s.owner.OnFull == CloseSession {
		s.endAside(ErrSlowConsumer)
		return ErrSlowConsumer
	}
	s.owner.countBlocked()
	return ErrSessionBlocked
}

// offer encodes msg and queues it, if there is room or older messages may be dropped for it, and sees to it that it is
// written. The depth of this call counts: it lies on the stack of a session's goroutine, which has to stay small.
func (s *Session) offer(msg any, limit sendqueue.Limit) error {
	if s.framing().isPlain {
		return s.offerInTurn(msg, limit)
	}
	if h, payload := s.headerOf(msg); h.Len > 0 {
		return s.put(s.q.PutCopy(h, payload, &limit))
	}
	c, err := s.encode(msg)
	if err != nil {
		return s.notEncoded(err, limit)
	}
	return s.put(s.q.Put(c, limit))
}

// put is what follows when a message was put into the queue.
func (s *Session) put(by sendqueue.By, err error) error {
	if err != nil {
		return s.refused(err)
	}
	s.flushBy(by)
	return nil
}

// notEncoded is the error of a Send whose message was not encoded: that a queue is full goes before what is wrong with
// a message.
func (s *Session) notEncoded(err error, limit sendqueue.Limit) error {
	if !errorIs(err, ErrPanic) && s.q.IsFull(limit) {
		return ErrSessionBlocked
	}
	return err
}

// offerInTurn is offer with a plain codec, whose turn it waits for, but not behind those who wait for room.
func (s *Session) offerInTurn(msg any, limit sendqueue.Limit) error {
	err := s.offerPlain(msg, &limit, &limit, sendqueue.TakesTurn)
	if err == sendqueue.ErrTurn {
		return s.offerBehindAnother(msg, limit)
	}
	return err
}

func (s *Session) offerBehindAnother(msg any, limit sendqueue.Limit) error {
	bound := s.owner.writeTimeout()
	for began := time.Now(); !s.q.IsFull(limit); {
		switch {
		case s.takeTurnWithin(sendqueue.Background, codecPatience):
			return s.offerPlain(msg, &limit, &limit, sendqueue.GivesTurn)
		case s.IsClosed():
			return s.closedErr()
		case bound > 0 && time.Since(began) >= bound:
			return errBusy
		}
	}
	return ErrSessionBlocked
}

// offerPlain is offer for the one who has the turn. It looks for room before the codec changes what it remembers of the
// stream. What is encoded then needs room within the second limit.
func (s *Session) offerPlain(msg any, before, then *sendqueue.Limit, turn sendqueue.Turn) error {
	c, err := s.q.BeginFrame(before, turn)
	if err != nil {
		return s.refused(err)
	}
	ended := true // the goroutine, by the codec
	defer func() {
		if ended {
			s.q.DropFrame(turn)
		}
	}()
	err = s.codecSend(msg)
	ended = false
	if err != nil {
		s.q.DropFrame(turn)
		c.Free()
		return err
	}
	return s.put(s.q.PutFrame(c, then, turn))
}

// refused is what the caller of a queue that answered with err is told.
func (s *Session) refused(err error) error {
	switch err {
	case sendqueue.ErrClosed:
		return s.closedErr()
	case sendqueue.ErrFull:
		return ErrSessionBlocked
	case sendqueue.ErrSealed:
		return errBusy
	case sendqueue.ErrTooLarge:
		return ErrFrameTooLarge
	}
	return err
}

// wait encodes msg and queues it, or has it stand in line until there is room.
func (s *Session) wait(ctx sendqueue.Context, msg any) error {
	c, err := s.encode(msg)
	if err != nil {
		return err
	}
	w, by, err := s.q.LineUp(c, s.owner.queueLimit())
	s.flushBy(by)
	if w == nil {
		return s.refused(err)
	}
	return s.refused(s.q.Await(ctx, w))
}

// waitInTurn is wait with a plain codec. It encodes when there is room: a message that the codec has made cannot be
// taken back. Who waits keeps the turn, so that all are served in their order; but where a Send that drops the oldest
// is not to wait for that.
func (s *Session) waitInTurn(ctx sendqueue.Context, msg any) error {
	limit := s.owner.queueLimit()
	mayPass := limit.Drop
	limit.Drop = false
	room := limit
	for {
		if err := s.takeTurnToWait(ctx, limit); err != nil {
			return err
		}
		err := s.waitWithTurn(ctx, msg, limit, !mayPass)
		limit.Drop = true // once it has been its turn, it does not begin again where a Send was faster: it may be one too many
		if err != ErrSessionBlocked && err != errBusy || !mayPass {
			return err
		}
		if err := s.q.AwaitRoom(ctx, room); err != nil {
			return s.refused(err)
		}
	}
}

func (s *Session) waitWithTurn(ctx sendqueue.Context, msg any, limit sendqueue.Limit, wait bool) error {
	defer s.q.GiveTurn()
	for {
		err := s.offerPlain(msg, &limit, &sendqueue.NoLimit, sendqueue.KeepsTurn)
		if err != ErrSessionBlocked && err != errBusy || !wait {
			return err
		}
		if err := s.q.AwaitRoom(ctx, limit); err != nil {
			return s.refused(err)
		}
	}
}

// takeTurnToWait is takeTurn behind those who may wait for room: it waits on for as long as the queue is full or takes
// messages.
func (s *Session) takeTurnToWait(ctx sendqueue.Context, limit sendqueue.Limit) error {
	for {
		before := s.accepted()
		if err := s.takeTurn(ctx); err != errBusy || !s.q.IsFull(limit) && s.accepted() == before {
			return err
		}
	}
}

// accepted is how many messages the queue has taken.
func (s *Session) accepted() uint64 {
	c := s.q.Counters()
	return uint64(c.Messages) + c.MessagesOut + c.Discarded
}

// bytesCodec is what package codec's codecs have, and package ws's. With isBytes it sends bytes as they are, and a
// *[]byte is to it what it points to. The header, if there is one, spares payload a draft, which costs as much as all
// else that its Send does.
type bytesCodec interface {
	BytesHeader(payload []byte) (h sendqueue.Header, isBytes bool)
}

func (s *Session) bytesHeader(payload []byte) (h sendqueue.Header, isBytes bool) {
	if p := s.framing().prefix; p != nil && len(payload) <= p.Bytes {
		h.Bytes, h.Len = p.Header(len(payload))
		return h, true
	}
	return s.bytesHeaderOf(payload)
}

func (s *Session) bytesHeaderOf(payload []byte) (h sendqueue.Header, isBytes bool) {
	c, ok := s.codec.(bytesCodec)
	if !ok || s.conn == nil {
		return h, false
	}
	if h, isBytes = c.BytesHeader(payload); h.Len+len(payload) > s.maxFrame() {
		h.Len = 0
	}
	return h, isBytes
}

// headerOf is the header of a message that Send was given as bytes; without one, the codec has to see the message.
func (s *Session) headerOf(msg any) (h sendqueue.Header, payload []byte) {
	if marshalled, ok := msg.(*sendqueue.Payload); ok {
		return s.payloadHeader(marshalled.Bytes), marshalled.Bytes
	}
	payload, ok := bytesOf(msg)
	if ok {
		h, _ = s.bytesHeader(payload)
	}
	return h, payload
}

// bytesOf is the message that Send was given as bytes; not ok if that is none.
func bytesOf(msg any) (payload []byte, ok bool) {
	switch m := msg.(type) {
	case []byte:
		return m, true
	case *[]byte:
		if m != nil {
			return *m, true
		}
	}
	return nil, false
}

// payloadHeader is bytesHeader for a [sendqueue.Payload].
func (s *Session) payloadHeader(payload []byte) (h sendqueue.Header) {
	if p := s.framing().prefix; p != nil && p.Payloads && len(payload) <= p.Max {
		h.Bytes, h.Len = p.Header(len(payload))
		return h
	}
	c, ok := s.codec.(interface {
		PayloadHeader(payload []byte) sendqueue.Header
	})
	if !ok || s.conn == nil {
		return h
	}
	if h = c.PayloadHeader(payload); h.Len+len(payload) > s.maxFrame() {
		h.Len = 0
	}
	return h
}

// putMarshalled is for [inside.Put].
func (s *Session) putMarshalled(payload []byte) (by sendqueue.By, ok bool) {
	p := s.framing().prefix
	if p == nil || !p.Payloads || len(payload) > p.Max || s.conn == nil || s.owner.limit.Messages == 0 {
		return sendqueue.ByNobody, false
	}
	var h sendqueue.Header
	h.Bytes, h.Len = p.Header(len(payload))
	by, err := s.q.PutCopy(h, payload, &s.owner.limit)
	return by, err == nil
}

// boxes holds what is lent to a message that is bytes for one call, to go as an any.
var boxes = sync.Pool{New: func() any { return new([]byte) }}

// box returns payload as a message. Where the codec is known not to keep that, it is a box, for unbox to take back.
func (s *Session) box(payload []byte) any {
	if s.hasCodec() {
		if _, isBytes := s.bytesHeader(payload); isBytes {
			b := boxes.Get().(*[]byte)
			*b = payload
			return b
		}
	}
	return payload
}

func unbox(msg any) {
	if b, ok := msg.(*[]byte); ok {
		*b = nil
		boxes.Put(b)
	}
}
