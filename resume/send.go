package resume

import (
	"context"
	"fmt"
	"sync"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/usercode"
)

// Send encodes msg and keeps it until the peer's application has taken it, over as many connections as that needs. It
// never waits, unless the connection has no queue (libnet.Config.SendQueue is 0): on such a one it writes. nil means
// that the message will be acknowledged or be among those that the session's Err counts. It may then be changed.
//
// Errors: an [*Error] when the session has ended or is shutting down; [libnet.ErrSessionBlocked] when as much is
// unacknowledged as Config allows; [libnet.ErrFrameTooLarge], and errors that wrap [libnet.ErrEncode] or
// [libnet.ErrPanic], for a message that cannot be sent. The last three leave the session open.
func (s *Session) Send(msg any) error {
	_, err := s.send(msg, false)
	return err
}

// SendBytes is [Session.Send] of a []byte. It spares what Go allocates to put a slice into an any, where
// Config.Marshaler is [codec.Bytes], and then allocates nothing.
func (s *Session) SendBytes(msg []byte) error {
	if !s.common.sendsBytes {
		return s.Send(msg)
	}
	_, err := s.accept(kindMessage, msg, nil)
	return err
}

// SendContext is [Session.Send] that waits for room, in no particular order among those who do. It returns ctx's error
// when ctx ends first; the message is then not sent. In the session's handler for messages it waits for itself where
// there is no room, until ctx ends: acknowledgements come behind the message at work.
func (s *Session) SendContext(ctx context.Context, msg any) error {
	ctx = usercode.Context(ctx, "SendContext")
	_, err := s.sendContext(ctx, msg, false)
	return err
}

// SendAcked is [Session.SendContext] that returns when the peer's application has taken the message: its handler has
// returned, or its Receive has returned the message. The peer acknowledges it at once. When ctx ends before that, the
// message may have been accepted, and then arrives all the same; so it may after an [*Error].
//
// In a handler of the same session it waits for itself, until ctx ends: acknowledgements come behind the message at
// work.
func (s *Session) SendAcked(ctx context.Context, msg any) error {
	ctx = usercode.Context(ctx, "SendAcked")
	place, err := s.sendContext(ctx, msg, true)
	if err != nil {
		return err
	}
	return s.await(ctx, func() (bool, error) {
		switch {
		case s.peerAcked >= place:
			return true, nil
		case s.phase >= ended:
			return true, s.errLocked()
		}
		return false, nil
	})
}

func (s *Session) sendContext(ctx context.Context, msg any, wait bool) (place uint64, err error) {
	place, err = s.send(msg, wait)
	for err == libnet.ErrSessionBlocked {
		s.mu.Lock()
		changed := s.changeLocked()
		s.mu.Unlock()
		if place, err = s.send(msg, wait); err != libnet.ErrSessionBlocked {
			break
		}
		select {
		case <-changed:
			place, err = s.send(msg, wait)
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return place, err
}

// await waits until ready, which is asked under the lock, says so.
func (s *Session) await(ctx context.Context, ready func() (bool, error)) error {
	for {
		s.mu.Lock()
		ok, err := ready()
		changed := s.changeLocked()
		s.mu.Unlock()
		if ok {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *Session) send(msg any, wait bool) (place uint64, err error) {
	kind := kindMessage
	if wait {
		kind = flagAtOnce
	}
	if data, ok := msg.([]byte); ok && s.common.sendsBytes {
		return s.accept(kind, data, nil)
	}
	draft := drafts.Get().(*[]byte)
	data, err := encode(s.common.config.marshaler(), (*draft)[:0], msg)
	if err == nil {
		place, err = s.accept(kind, data, nil)
	}
	if n := len(data); n > cap(*draft) && n <= keptDraft {
		*draft = make([]byte, 0, min(2*n, keptDraft)) // what was answered may be memory that the marshaler keeps
	}
	drafts.Put(draft)
	return place, err
}

// drafts are what messages are encoded into, with no lock held.
var drafts = sync.Pool{New: func() any { return new([]byte) }}

const keptDraft = 64 << 10

func encode(m codec.Marshaler, dst []byte, msg any) (data []byte, err error) {
	if msg == nil {
		return dst, fmt.Errorf("%w: nil", libnet.ErrEncode)
	}
	defer func() {
		if r := recover(); r != nil {
			data, err = nil, fmt.Errorf("%w in a marshaler: %.256q", libnet.ErrPanic, usercode.Text(r))
		}
	}()
	if data, err = m.AppendMarshal(dst, msg); err != nil && !is(err, libnet.ErrEncode) {
		err = fmt.Errorf("%w: %w", libnet.ErrEncode, err)
	}
	return data, err
}

// accept keeps an encoded message, and sends it if it can be sent now. A shared frame, if there is one, is that
// message's: it is not copied, and must not change.
func (s *Session) accept(kind byte, data, shared []byte) (place uint64, err error) {
	s.mu.Lock()
	if err := s.mayAcceptLocked(len(data)); err != nil {
		s.mu.Unlock()
		return 0, err
	}
	if shared != nil {
		s.unacknowledged.pushShared(shared)
	} else {
		s.unacknowledged.push(kind, data)
	}
	place = s.acceptedLocked()
	if s.link == nil {
		s.mu.Unlock()
		s.common.end.grown(s, len(data))
		return place, nil
	}
	s.feedAndUnlock()
	return place, nil
}

func (s *Session) mayAcceptLocked(length int) error {
	switch q := &s.unacknowledged; {
	case s.phase >= ended:
		return s.errLocked()
	case s.phase != open:
		return &Error{Err: libnet.ErrSessionClosed}
	case length > int(min(s.limits.bytes, s.maxLength)):
		return libnet.ErrFrameTooLarge
	case q.count() >= s.limits.messages || length > int(s.limits.bytes-q.size()):
		return libnet.ErrSessionBlocked
	}
	return nil
}
