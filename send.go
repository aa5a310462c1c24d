package libnet

import "context"

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
// Send runs the codec and the message's own methods, with no lock held, and no other code of the user's: a session
// that has to end, ends on a goroutine of its own. With a codec that is not a [FrameAppender] one Send at a time
// encodes; who waits for another's codec gets [ErrSessionBlocked] after Config.WriteTimeout.
func (s *Session) Send(msg any) error {
	if !s.initCodec() || s.IsClosed() {
		return s.closedErr()
	}
	var err error
	if s.owner.sendQueue() == 0 {
		err = s.sendNow(context.Background(), msg)
	} else {
		err = s.offer(msg, s.owner.queueLimit())
	}
	if err != nil {
		return s.notSent(err)
	}
	return nil
}

// notSent is what Send answers for err. It ends the session where that is what is to follow.
func (s *Session) notSent(err error) error {
	switch {
	case err == ErrSessionBlocked:
		return s.blocked()
	case err == errCodecBusy:
		s.owner.countBlocked()
		return ErrSessionBlocked
	}
	return s.endIfPanic(err)
}

// SendContext is [Session.Send] that waits for room in a full queue, whatever Config.OnFull says, behind those who
// came before. It returns ctx's error when ctx ends first; the message is then not queued.
//
// On a synchronous session it waits until the kernel has the message. When ctx ends while it is being written, which cannot
// be undone, SendContext gives the write 5 ms to return; what is left of the message is then written without the caller, within
// Config.WriteTimeout: the peer may get it though SendContext returned ctx's error. The same holds from when a codec that
// is not a [FrameAppender] has encoded the message.
func (s *Session) SendContext(ctx context.Context, msg any) error {
	if err := s.awaitCodec(ctx); err != nil {
		return err
	}
	var err error
	switch {
	case s.owner.sendQueue() == 0:
		err = s.sendNow(ctx, msg)
	case s.turn != nil:
		err = s.waitInTurn(ctx, msg)
	default:
		err = s.wait(ctx, msg)
	}
	if err == errCodecBusy {
		return ErrSessionBlocked
	}
	if err != nil {
		return s.endIfPanic(err)
	}
	return nil
}

// awaitCodec waits until the session can send, or says why it cannot.
func (s *Session) awaitCodec(ctx context.Context) error {
	if !s.hasCodec.Load() && ctx.Err() == nil {
		select {
		case <-s.startCodec():
		case <-ctx.Done():
		}
	}
	switch {
	case s.IsClosed():
		return s.closedErr()
	case ctx.Err() != nil:
		return ctx.Err()
	case !s.hasCodec.Load():
		return s.closedErr()
	}
	return nil
}

func (o *owner) queueLimit() queueLimit {
	return queueLimit{o.sendQueue(), o.sendQueueBytes(), o.OnFull == DropOldest}
}

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
func (s *Session) offer(msg any, limit queueLimit) error {
	if s.turn != nil {
		return s.offerInTurn(msg, limit)
	}
	c, err := s.encode(msg)
	if err != nil {
		return s.notEncoded(err, limit)
	}
	return s.put(c, limit)
}

// put queues c, if it can.
func (s *Session) put(c *batch, limit queueLimit) error {
	by, err := s.q.put(c, limit)
	if err != nil {
		return s.refused(err)
	}
	s.flushBy(by)
	return nil
}

// notEncoded is the error of a Send whose message was not encoded: that a queue is full goes before what is wrong with a message.
func (s *Session) notEncoded(err error, limit queueLimit) error {
	if !errorIs(err, ErrPanic) && s.q.isFull(limit) {
		return ErrSessionBlocked
	}
	return err
}

// offerInTurn is offer with a plain codec, whose turn it waits for.
func (s *Session) offerInTurn(msg any, limit queueLimit) error {
	if s.q.isFull(limit) {
		return ErrSessionBlocked
	}
	if err := s.takeTurn(context.Background()); err != nil {
		return err
	}
	return s.offerAndGiveTurn(msg, limit, limit)
}

func (s *Session) offerAndGiveTurn(msg any, before, then queueLimit) error {
	defer s.giveTurn()
	return s.offerPlain(msg, before, then)
}

// offerPlain is offer for the one who has the turn. It looks for room before the codec changes what it remembers of the stream.
// What is encoded then needs room within the second limit.
func (s *Session) offerPlain(msg any, before, then queueLimit) error {
	if s.q.isFull(before) {
		return ErrSessionBlocked
	}
	c, err := s.encode(msg)
	if err != nil {
		return err
	}
	return s.put(c, then)
}

// refused is what the caller of a queue that answered with err is told.
func (s *Session) refused(err error) error {
	switch err {
	case errQueueClosed:
		return s.closedErr()
	case errQueueFull:
		return ErrSessionBlocked
	case errFrameTooBig:
		return ErrFrameTooLarge
	}
	return err
}

// wait encodes msg and queues it, or has it stand in line until there is room.
func (s *Session) wait(ctx context.Context, msg any) error {
	c, err := s.encode(msg)
	if err != nil {
		return err
	}
	w, by, err := s.q.lineUp(c, s.owner.queueLimit())
	s.flushBy(by)
	if w == nil {
		return s.refused(err)
	}
	return s.refused(s.q.await(ctx, w))
}

// waitInTurn is wait with a plain codec. It encodes when there is room: a message that the codec has made cannot be taken back.
// Who waits keeps the turn, so that all are served in their order; but where a Send that drops the oldest is not to wait for that.
func (s *Session) waitInTurn(ctx context.Context, msg any) error {
	limit := s.owner.queueLimit()
	mayPass := limit.drop
	limit.drop = false
	for {
		if err := s.takeTurnToWait(ctx, limit); err != nil {
			return err
		}
		err := s.waitWithTurn(ctx, msg, limit, !mayPass)
		if err != ErrSessionBlocked || !mayPass {
			return err
		}
		if err := s.q.awaitRoom(ctx, limit); err != nil {
			return s.refused(err)
		}
	}
}

func (s *Session) waitWithTurn(ctx context.Context, msg any, limit queueLimit, wait bool) error {
	defer s.giveTurn()
	for {
		err := s.offerPlain(msg, limit, noLimit)
		if err != ErrSessionBlocked || !wait {
			return err
		}
		if err := s.q.awaitRoom(ctx, limit); err != nil {
			return s.refused(err)
		}
	}
}

// takeTurnToWait is takeTurn behind those who may wait for room.
func (s *Session) takeTurnToWait(ctx context.Context, limit queueLimit) error {
	for {
		if err := s.takeTurn(ctx); err != errCodecBusy || !s.q.isFull(limit) {
			return err
		}
	}
}
