package libnet

import (
	"io"

	"github.com/libnet-go/libnet/internal/eventloop"
)

// An eventSession is a session as the event loop knows it. The methods of its own are not the session's.
type eventSession Session

func (s *eventSession) ServeState() *eventloop.State { return &s.serving }

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
		more = s.in.Full() || s.serving.ReadAll()
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
	// After beforeWait, which says that the receiver is not at work: else a request to close might be overlooked.
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
