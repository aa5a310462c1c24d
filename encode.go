package libnet

import (
	"errors"
)

// offer encodes msg into the queue, unless that is full, and sees to it that it is written.
func (s *Session) offer(msg any, maxMessages, maxBytes int) (err error) {
	switch {
	case s.conn == nil:
		err = s.offerBare(msg, maxMessages)
	case s.appender == nil:
		s.sendMu.Lock()
		err = s.encodePlain(msg, maxMessages, maxBytes, false)
		s.sendMu.Unlock()
	default:
		var w wakeUp
		if w, err = s.encode(msg, maxMessages, maxBytes); err == nil {
			s.wakeBy(w)
			return nil
		}
	}
	if err == nil {
		s.wake()
		return nil
	}
	return s.closeIfPanic(err)
}

// encode appends msg's frame to the queue. On a synchronous session the caller writes it, else wakeUp says
// who.
func (s *Session) encode(msg any, maxMessages, maxBytes int) (w wakeUp, err error) {
	q := &s.q
	q.mu.Lock()
	defer s.endEncode(&err)
	if err = s.mayQueueLocked(0, maxMessages, maxBytes); err != nil {
		return wakeNobody, err
	}
	b := q.appendToLocked()
	frame, err := s.appender.AppendFrame(b.buf, msg)
	if err != nil {
		return wakeNobody, err
	}
	n := len(frame) - len(b.buf)
	if err = s.mayCommitLocked(n, maxMessages, maxBytes); err != nil {
		return wakeNobody, err
	}
	b.buf = frame
	b.commit(n, true)
	q.acceptedLocked(n)
	if s.owner.sendQueue() == 0 {
		q.ownLocked()
		return wakeNobody, nil
	}
	return s.wakeLocked(), nil
}

// endEncode is deferred: the codec may have panicked.
func (s *Session) endEncode(err *error) {
	r := recover()
	if r != nil || *err != nil {
		s.q.dropEmptyLocked()
	}
	s.q.mu.Unlock()
	if r != nil {
		*err = s.panicked("codec", r)
	}
}

// mayCommitLocked says why a frame of n bytes may not be queued now that its size is known.
func (s *Session) mayCommitLocked(n, maxMessages, maxBytes int) error {
	switch {
	case n < 0:
		return errShrunk
	case n > s.maxFrame():
		return ErrFrameTooLarge
	case s.q.fullLocked(n, maxMessages, maxBytes):
		return ErrSessionBlocked
	}
	return nil
}

// appendFrame encodes msg for a broadcast.
func (s *Session) appendFrame(msg any) (frame []byte, err error) {
	defer s.recovered("codec", &err)
	return s.appender.AppendFrame(nil, msg)
}

var errShrunk = newError("libnet: the codec shortened what it should append to")

// encodePlain has a codec that knows only io.Writer write msg's frame into the queue. own says that the
// caller waits until it is written. The caller holds sendMu.
func (s *Session) encodePlain(msg any, maxMessages, maxBytes int, own bool) error {
	err := s.tryEncodePlain(msg, maxMessages, maxBytes, own)
	if err != nil {
		s.wake() // a flush may have left to us what was queued before
	}
	return err
}

// tryEncodePlain lets no flush take the batch meanwhile, so a frame whose encoding fails leaves nothing
// behind.
func (s *Session) tryEncodePlain(msg any, maxMessages, maxBytes int, own bool) error {
	q := &s.q
	q.mu.Lock()
	if err := s.mayQueueLocked(0, maxMessages, maxBytes); err != nil {
		q.mu.Unlock()
		return err
	}
	b := q.appendToLocked()
	b.open, b.openErr = len(b.buf), nil
	q.sending = true
	q.mu.Unlock()

	err := s.codecSend(msg)

	q.mu.Lock()
	defer q.mu.Unlock()
	q.sending = false
	if q.pending != b { // closed meanwhile
		return s.closedErr()
	}
	n := len(b.buf) - b.open
	if err == nil {
		err = b.openErr // the codec may not have looked at what Write answered
	}
	if err == nil {
		err = s.mayCommitLocked(n, maxMessages, maxBytes)
	}
	if err != nil {
		b.buf = b.buf[:b.open]
		q.dropEmptyLocked()
		return err
	}
	b.commit(n, true)
	q.acceptedLocked(n)
	if own {
		q.ownLocked()
	}
	return nil
}

func (s *Session) codecSend(msg any) (err error) {
	defer s.recovered("codec", &err)
	return s.codec.Send(msg)
}

// offerBare queues the message itself.
func (s *Session) offerBare(msg any, maxMessages int) error {
	q := &s.q
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := s.mayQueueLocked(0, maxMessages, 0); err != nil {
		return err
	}
	b := q.appendToLocked()
	b.msgs = append(b.msgs, msg)
	b.commit(0, true)
	q.acceptedLocked(0)
	return nil
}

// notWritten reports whether a codec's Send says that it wrote nothing and the stream is whole.
func notWritten(err error) bool {
	return errors.Is(err, ErrEncode) || errors.Is(err, ErrFrameTooLarge)
}

// offerFrame queues a frame that a broadcast encoded. From shareAt bytes on it is not copied.
func (s *Session) offerFrame(frame []byte, maxMessages, maxBytes int) error {
	q := &s.q
	q.mu.Lock()
	if err := s.mayQueueLocked(len(frame), maxMessages, maxBytes); err != nil {
		q.mu.Unlock()
		return err
	}
	b := q.appendToLocked()
	if len(frame) >= shareAt {
		b.share(frame)
	} else {
		b.buf = append(b.buf, frame...)
		b.commit(len(frame), true)
	}
	q.acceptedLocked(len(frame))
	w := s.wakeLocked()
	q.mu.Unlock()
	s.wakeBy(w)
	return nil
}

func (s *Session) mayQueueLocked(n, maxMessages, maxBytes int) error {
	if s.q.state != queueOpen {
		return s.closedErr()
	}
	if s.q.fullLocked(n, maxMessages, maxBytes) {
		return ErrSessionBlocked
	}
	return nil
}
