package libnet

import "io"

// beginServing makes the caller the one who serves s. If somebody does so already, they will look again.
func (s *Session) beginServing() bool {
	for {
		was := s.serving.Load()
		is := was | serving
		if was&serving != 0 {
			is |= servingAgain
		}
		if s.serving.CompareAndSwap(was, is) {
			return was&serving == 0
		}
	}
}

// endServing reports whether something arrived meanwhile: the caller then still serves.
func (s *Session) endServing() (again bool) {
	for {
		was := s.serving.Load()
		again = was&servingAgain != 0
		is := was &^ serving
		if again {
			is = was &^ servingAgain
		}
		if s.serving.CompareAndSwap(was, is) {
			return again
		}
	}
}

// leaveServing is endServing for a caller who does not go on in any case.
func (s *Session) leaveServing() (again bool) {
	return s.serving.And(^(serving|servingAgain))&servingAgain != 0
}

// serve reads once from s and calls h for each message that is complete. It reports whether there may be
// more to read. The caller has begun serving s.
func (s *Session) serve(h MessageHandler) (more bool) {
	if !s.canReceive() {
		s.dropUnread() // whoever is closing it reads the rest
		return false
	}
	n, err := s.sock.ReadReady(&s.in, s.usualRead)
	if n > 0 {
		s.took(n)
		// A read of a TCP socket that brings less than it asked for has emptied it, and the next event comes with
		// the next byte: that spares a read that would find nothing.
		more = s.in.Full() || s.serving.Load()&servingAll != 0
		err = s.dispatch(h)
	}
	if s.yieldAsked.Load() && !s.yieldNow() {
		more = more || n > 0
	}
	if s.state.Load() == sessionOutputFailed { // only what has arrived is read
		if more = n > 0; !more && err == nil {
			err = s.closedErr()
		}
	}
	if err != nil {
		s.failServing(err)
		return false
	}
	return more
}

// dispatch calls h for each complete message and then flushes the replies.
func (s *Session) dispatch(h MessageHandler) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		if r := recover(); r != nil {
			err = s.panicked("message handler or codec", r)
			return
		}
		s.terminate(ErrSessionClosed) // the handler ended its goroutine
	}()
	err = s.handle(h)
	returned = true
	return err
}

// handle is dispatch where nothing panics.
func (s *Session) handle(h MessageHandler) error {
	for s.canReceive() && !(s.yieldAsked.Load() && !s.servesArrived()) {
		payload, ok, err := s.parse()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		h.ServeMessage(s, payload)
	}
	s.beforeWait(!s.in.Empty())
	// After beforeWait, which says that the receiver is not at work: else a wish might be overlooked.
	if s.yieldAsked.Load() {
		s.yieldNow()
	}
	if !s.canReceive() {
		s.dropUnread()
		return nil
	}
	s.in.Shrink()
	return nil
}

func (s *Session) failServing(err error) {
	if err == io.EOF && !s.in.Empty() {
		err = io.ErrUnexpectedEOF
	}
	s.dropUnread()
	s.q.NoteReceived(s.parsed, s.read.Load())
	_ = s.fail(err)
}
