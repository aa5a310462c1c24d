package libnet

import (
	"context"
	"errors"
	"math"
)

// Send queues msg for the peer, in the order of the calls, and returns without waiting for it: nil
// means that the message will be written or counted in Stats().Discarded. The message is encoded before
// Send returns and may then be changed. Errors: [ErrSessionClosed] or the reason of the session's end;
// [ErrSessionBlocked] or [ErrSlowConsumer] when the queue is full, as Config.OnFull says;
// [ErrFrameTooLarge], and errors that wrap [ErrEncode], for a message that cannot be sent: these leave
// the session open.
//
// On a synchronous session (SendQueue 0) Send writes before it returns, one write a message, and waits
// while others send; nil means that the kernel has the message, and an error of the transport closes
// the session.
func (s *Session) Send(msg any) error {
	if !s.initCodec() {
		return s.closedErr()
	}
	if s.owner.sendQueue() == 0 {
		return s.sendNow(msg)
	}
	err := s.offer(msg, s.owner.sendQueue(), s.owner.sendQueueBytes())
	if err == ErrSessionBlocked {
		return s.onFull(msg)
	}
	return err
}

// SendContext is [Session.Send] that waits for room in a full queue, whatever Config.OnFull says. It
// returns ctx's error when ctx ends first; the message is then not queued.
func (s *Session) SendContext(ctx context.Context, msg any) error {
	if !s.initCodec() {
		return s.closedErr()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.owner.sendQueue() == 0 {
		return s.sendNow(msg)
	}
	for {
		err := s.offer(msg, s.owner.sendQueue(), s.owner.sendQueueBytes())
		if err != ErrSessionBlocked {
			return err
		}
		select {
		case <-s.q.roomChanged():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// onFull does what Config.OnFull says with a message that found no room.
func (s *Session) onFull(msg any) error {
	switch s.owner.OnFull {
	case CloseSession:
		s.terminate(ErrSlowConsumer)
		return ErrSlowConsumer
	case DropOldest:
		return s.sendDropping(msg)
	}
	s.owner.countBlocked()
	return ErrSessionBlocked
}

// sendDropping queues msg and then discards the oldest messages that are too many: a message that cannot
// be queued costs no other. What a flush is already writing cannot be taken back and does not count
// against the new message.
func (s *Session) sendDropping(msg any) error {
	err := s.offer(msg, math.MaxInt, 0)
	if err == nil {
		s.q.dropDownTo(s.owner.sendQueue(), s.owner.sendQueueBytes())
	}
	return err
}

// splitAt is the payload size from which a synchronous Send writes the header and the caller's bytes
// with one writev instead of copying them together first: below it the copy is cheaper (measured, see
// bench/README.md, "Where copying ends").
const splitAt = 32 << 10

// sendNow is Send on a synchronous session.
func (s *Session) sendNow(msg any) error {
	s.sendMu.Lock()
	err, reason := s.writeNow(msg)
	s.sendMu.Unlock()
	if reason != nil {
		s.terminate(reason)
	}
	return err
}

// writeNow returns Send's error and the reason to end the session for, if there is one.
func (s *Session) writeNow(msg any) (err, reason error) {
	if s.conn == nil {
		return s.writeBareNow(msg)
	}
	if err = s.offerNow(msg); err != nil {
		if errors.Is(err, ErrPanic) {
			reason = err
		}
		return err, reason
	}
	reason = s.flushAndWait()
	if reason != nil && s.q.ownWasLost() {
		err = reason
	}
	return err, reason
}

func (s *Session) writeBareNow(msg any) (err, reason error) {
	if s.IsClosed() {
		return s.closedErr(), nil
	}
	switch err = s.codecSend(msg); {
	case err == nil:
		s.q.sentBesideQueue()
	case !notWritten(err):
		reason = err
	}
	return err, reason
}

// offerNow queues msg, however full a broadcast has made the queue. A large payload stays where the
// caller has it: Send does not return before it is written.
func (s *Session) offerNow(msg any) (err error) {
	if s.appender == nil {
		return s.encodePlain(msg, math.MaxInt, 0, true)
	}
	if splitter, ok := s.codec.(FrameSplitter); ok && payloadSize(msg) >= splitAt {
		return s.offerSplit(splitter, msg)
	}
	_, err = s.encode(msg, math.MaxInt, 0)
	return err
}

func payloadSize(msg any) int {
	switch m := msg.(type) {
	case []byte:
		return len(m)
	case *[]byte:
		if m != nil {
			return len(*m)
		}
	}
	return 0
}

func (s *Session) offerSplit(splitter FrameSplitter, msg any) (err error) {
	var room [plainFrameRoom]byte
	header, payload, err := splitter.SplitFrame(room[:0], msg)
	if err != nil {
		return err
	}
	if payload == nil {
		_, err = s.encode(msg, math.MaxInt, 0)
		return err
	}
	if len(payload) > s.maxFrame() {
		return ErrFrameTooLarge
	}
	q := &s.q
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := s.mayQueueLocked(0, math.MaxInt, 0); err != nil {
		return err
	}
	b := q.appendToLocked()
	b.buf = append(b.buf, header...)
	b.commit(len(header), false)
	b.share(payload)
	q.acceptedLocked(len(header) + len(payload))
	q.ownLocked()
	return nil
}

// flushAndWait writes what is queued, or waits for the flush that is already doing so.
func (s *Session) flushAndWait() error {
	for {
		if b := s.q.begin(); b != nil {
			return s.flush(b)
		}
		idle := s.q.idle()
		if idle == nil {
			if s.q.isClosed() {
				return s.q.failure(s.closedErr())
			}
			return nil
		}
		<-idle // that flush ends within WriteTimeout
	}
}
