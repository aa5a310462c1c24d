package libnet

import "io"

// Values of Session.serving.
const (
	notServing   = iota
	serving      // a goroutine reads from the session and calls its handler
	servingAgain // and something arrived since it began
)

// beginServing makes the caller the one who serves s. If somebody does so already, they will look again.
func (s *Session) beginServing() bool {
	for {
		switch s.serving.Load() {
		case notServing:
			if s.serving.CompareAndSwap(notServing, serving) {
				return true
			}
		case serving:
			if s.serving.CompareAndSwap(serving, servingAgain) {
				return false
			}
		default:
			return false
		}
	}
}

// endServing reports whether something arrived meanwhile: the caller then still serves.
func (s *Session) endServing() (again bool) {
	if s.serving.CompareAndSwap(serving, notServing) {
		return false
	}
	s.serving.Store(serving)
	return true
}

// serve reads once from s and calls h for each message that is complete. It reports whether there may be
// more to read. The caller has begun serving s.
func (s *Session) serve(h MessageHandler) (more bool) {
	n, err := s.sock.readReady(&s.in)
	if s.state.Load() != sessionOpen {
		s.in.release() // whoever is closing it reads the rest
		return false
	}
	if n > 0 {
		s.took(n)
		more = s.in.w == len(s.in.chunk)
		err = s.dispatch(h)
	}
	if err != nil {
		s.failServing(err)
		return false
	}
	return more && s.state.Load() == sessionOpen
}

// dispatch calls h for each complete message and then flushes the replies.
func (s *Session) dispatch(h MessageHandler) (err error) {
	defer s.recovered("message handler or codec", &err)
	for s.state.Load() == sessionOpen {
		payload, ok, err := s.parse()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		h.ServeMessage(s, payload)
	}
	if s.yieldAsked.Load() {
		s.yieldNow()
	}
	err = s.beforeWait(s.in.r < s.in.w)
	s.in.shrink()
	return err
}

func (s *Session) failServing(err error) {
	if err == io.EOF && s.in.r < s.in.w {
		err = io.ErrUnexpectedEOF
	}
	s.in.release()
	_ = s.fail(err)
}
