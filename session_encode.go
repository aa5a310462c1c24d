package libnet

import (
	"context"
	"math"
	"time"

	"github.com/libnet-go/libnet/internal/sendqueue"
)

// encode returns msg as a draft, for the queue to take. It runs the codec with no lock held. After an error that comes of a
// panic the caller has the session end. The depth of this call counts, as offer's does.
func (s *Session) encode(msg any) (c *sendqueue.Batch, err error) {
	switch {
	case s.appender != nil:
		return s.encodeFrame(msg)
	case s.conn != nil:
		return s.encodePlain(msg)
	}
	c = sendqueue.NewDraft()
	c.SetMessage(msg)
	return c, nil
}

// encodeFrame has a codec that knows how append msg's frame.
func (s *Session) encodeFrame(msg any) (c *sendqueue.Batch, err error) {
	defer s.recovered("codec", &err)
	c = sendqueue.NewDraft()
	frame, err := s.appender.AppendFrame(c.Room(), msg)
	if err == nil && len(frame) > s.maxFrame() {
		err = ErrFrameTooLarge
	}
	if err != nil {
		c.Free()
		return nil, err
	}
	c.SetFrame(frame)
	return c, nil
}

// encodePlain has a codec that knows only io.Writer write msg's frame. The caller has the turn.
func (s *Session) encodePlain(msg any) (c *sendqueue.Batch, err error) {
	c = sendqueue.NewDraft()
	s.q.BeginFrame(c)
	ended := false
	defer func() {
		if !ended { // the codec has ended its goroutine
			_ = s.q.EndFrame()
		}
	}()
	err = s.codecSend(msg)
	ended = true
	if refused := s.q.EndFrame(); err == nil && refused != nil {
		err = s.refused(refused) // the codec may not have looked at what Write answered
	}
	if err != nil {
		c.Free()
		return nil, err
	}
	return c, nil
}

func (s *Session) codecSend(msg any) (err error) {
	defer s.recoveredLocked("codec", &err)
	return s.codec.Send(msg)
}

// appendFrame encodes msg for a broadcast.
func (s *Session) appendFrame(msg any) (frame []byte, err error) {
	defer s.recovered("codec", &err)
	return s.appender.AppendFrame(nil, msg)
}

// notWritten reports whether a codec's Send says that it wrote nothing and the stream is whole.
func notWritten(err error) bool {
	return errorIs(err, ErrEncode) || errorIs(err, ErrFrameTooLarge)
}

// endIfPanic ends the session when err came from a panic of its codec.
func (s *Session) endIfPanic(err error) error {
	if errorIs(err, ErrPanic) {
		s.endAside(err)
	}
	return err
}

// errCodecBusy says that a codec is being made, or works on another message, for too long. The queue may have room.
var errCodecBusy = newError("libnet: the codec is busy")

// takeTurn makes the caller the one who may call a plain codec's Send. It waits for another who does so, as long as
// WriteTimeout, the session, and ctx last: a codec that calls its own session would wait for itself.
func (s *Session) takeTurn(ctx context.Context) error {
	bound := s.owner.writeTimeout()
	if bound == 0 {
		bound = math.MaxInt64
	}
	switch {
	case s.takeTurnWithin(ctx, bound):
		return nil
	case s.IsClosed():
		return s.closedErr()
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return errCodecBusy
}

func (s *Session) takeTurnWithin(ctx context.Context, bound time.Duration) bool {
	select {
	case s.turn <- struct{}{}:
		return true
	default:
	}
	timer := time.NewTimer(bound)
	defer timer.Stop()
	select {
	case s.turn <- struct{}{}:
		return true
	case <-s.doneChan():
	case <-ctx.Done():
	case <-timer.C:
	}
	return false
}

func (s *Session) giveTurn() { <-s.turn }
