package libnet

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"

	"github.com/libnet-go/libnet/internal/firstbytes"
	"github.com/libnet-go/libnet/internal/sockets"
)

// Errors of Send, Receive and the lifecycle. A session's [Session.Err] is one of these, io.EOF or io.ErrUnexpectedEOF
// after the peer's end, the transport's own error, or an error that wraps one. About bytes that are no frame, errors
// end with how these begin: eight bytes at the most, and whose protocol that looks like.
var (
	// ErrSessionClosed is returned by Send, by Receive and by a second Close after the session was
	// closed on this side. errors.Is(ErrSessionClosed, net.ErrClosed) holds.
	ErrSessionClosed error = &closedError{"libnet: session closed"}

	// ErrServerClosed is returned by Server.Serve, Server.ServeMessages and Server.NewSession after
	// Stop or Shutdown, and is the reason of the sessions these closed. It, too, is a net.ErrClosed.
	ErrServerClosed error = &closedError{"libnet: server closed"}

	// ErrSessionBlocked is returned by Send when the queue is full and Config.OnFull is
	// RejectNewest; or when the session can take nothing for a moment, because its codec is at work or another process
	// is about to have it: see package handover. Nothing was queued; the session is open.
	ErrSessionBlocked error = newError("libnet: send queue full")

	// ErrFrameTooLarge is returned by Send for a message over the limit: nothing was queued, the
	// session is open. It is the reason of a session whose peer announced or sent such a frame.
	ErrFrameTooLarge error = newError("libnet: frame too large")

	// ErrMalformedFrame is the reason of a session whose peer sent bytes that are no frame.
	ErrMalformedFrame error = newError("libnet: malformed frame")

	// ErrEncode is wrapped by the error of a Send whose message cannot be encoded: nothing was
	// queued, the session is open.
	ErrEncode error = newError("libnet: message cannot be encoded")

	// ErrHandshakeTimeout is the reason of a session that brought no complete message within Config.HandshakeTimeout of
	// being accepted. It is wrapped, where that is 0, by the reason of a session without a handshake of TLS within 15
	// s, and by the error of such a Dial.
	ErrHandshakeTimeout error = &timeoutError{text: "libnet: handshake timeout"}

	// ErrProxyHeader is wrapped by the reason of a session whose peer, a proxy by Server.ProxyProtocol, did not begin
	// with a header of the PROXY protocol in time, or with one that is malformed or too long. Its text says which.
	ErrProxyHeader error = newError("libnet: PROXY header")

	// ErrFrameTimeout is the reason of a session whose peer began a frame and did not complete it within
	// Config.FrameTimeout. It is wrapped by one that says how much came, and of how much, where the codec tells that.
	ErrFrameTimeout error = &timeoutError{text: "libnet: frame timeout"}

	// ErrWriteTimeout is the reason of a session whose peer took no byte for Config.WriteTimeout.
	ErrWriteTimeout error = &timeoutError{text: "libnet: write timeout"}

	// ErrIdleTimeout is the reason of a session from which nothing came for Config.IdleTimeout.
	ErrIdleTimeout error = &timeoutError{text: "libnet: idle timeout"}

	// ErrSlowConsumer is returned by Send, and is the session's reason, when the queue was full and
	// Config.OnFull is CloseSession.
	ErrSlowConsumer error = newError("libnet: slow consumer")

	// ErrRateLimit is the reason of a session whose peer sent more than Config.RateLimit allows, where that says End.
	ErrRateLimit error = newError("libnet: rate limit exceeded")

	// ErrHandedOver is the reason, in this process, of a session that package handover has given to another: its peer
	// was told nothing.
	ErrHandedOver error = newError("libnet: session handed over to another process")

	// ErrPanic is wrapped by the reason of a session whose handler, codec, callback or heartbeat
	// panicked.
	ErrPanic error = newError("libnet: panic")

	// ErrTooManySessions is returned by Server.NewSession, and counted, when Server.MaxSessions
	// are open.
	ErrTooManySessions error = newError("libnet: too many sessions")

	// ErrTooManySessionsPerIP is returned by Server.NewSession, and counted, when Server.MaxSessionsPerIP are open from
	// one address. It is the reason of a session behind a proxy that is one too many.
	ErrTooManySessionsPerIP error = newError("libnet: too many sessions from one address")
)

// Names of the original libnet.
var (
	// Deprecated: use ErrSessionClosed, the same value.
	SessionClosedError error = ErrSessionClosed
	// Deprecated: use ErrSessionBlocked, the same value.
	SessionBlockedError error = ErrSessionBlocked
)

// A ShutdownError says what a Shutdown left undone. It unwraps to the reason.
type ShutdownError struct {
	Undelivered uint64 // messages that Send had accepted and that were not written
	Forced      int    // sessions that were cut off
	Running     int    // sessions that had ended and whose close callbacks, or whose connection's or codec's Close, had not returned
	Err         error  // the context's, if that has ended; else what a session ended for
}

func (e *ShutdownError) Error() string {
	text := fmt.Sprintf("libnet: shutdown left %d messages undelivered and cut off %d sessions", e.Undelivered, e.Forced)
	if e.Running > 0 {
		text += fmt.Sprintf(", and close callbacks, or a Close, of %d sessions at work", e.Running)
	}
	return fmt.Sprintf("%s: %v", text, e.Err)
}

// Unwrap returns e.Err.
func (e *ShutdownError) Unwrap() error { return e.Err }

type plainError struct{ text string }

func newError(text string) error { return &plainError{text} }

func (e *plainError) Error() string { return e.text }

// A headerError says what is wrong with a header of the PROXY protocol.
type headerError struct{ what string }

func (e *headerError) Error() string { return fmt.Sprintf("%v: %s", ErrProxyHeader, e.what) }
func (e *headerError) Unwrap() error { return ErrProxyHeader }

type closedError struct{ text string }

func (e *closedError) Error() string        { return e.text }
func (e *closedError) Is(target error) bool { return target == net.ErrClosed }

// timeoutError is a net.Error, as the deadline errors of package net are.
type timeoutError struct {
	text string
	kind error // the timeout of the list above that this one tells more of; nil for those themselves
}

func (e *timeoutError) Error() string   { return e.text }
func (e *timeoutError) Timeout() bool   { return true }
func (e *timeoutError) Temporary() bool { return true }
func (e *timeoutError) Is(target error) bool {
	return target == os.ErrDeadlineExceeded || e.kind != nil && target == e.kind
}

// explainedTimeout is kind with what is known of it.
func explainedTimeout(kind error, text string) error {
	return &timeoutError{text: kind.Error() + ": " + text, kind: kind}
}

// An explainedError is an error of this package, package codec or the transport, with what is known of how it came
// about. The text is libnet's own, so it may go into logs whole.
type explainedError struct {
	err  error
	text string
}

// explain leaves what is explained as it is.
func explain(err error, text string) error {
	if _, explained := err.(*explainedError); explained || text == "" {
		return err
	}
	return &explainedError{err, text}
}

func (e *explainedError) Error() string { return e.err.Error() + ": " + e.text }
func (e *explainedError) Unwrap() error { return e.err }

// What a session's first bytes tell of a peer that speaks something else. See internal/firstbytes, which has the words.

// explainFrame adds to the error of a frame that cannot be one what the frame begins with: src is what has arrived of
// it. The errors of a user's codec stay as they are.
func (s *Session) explainFrame(err error, src []byte) error {
	if s.skips() || !saysBadFrame(err) {
		return err
	}
	return explain(err, s.beginning(src, s.parsed == 0, false))
}

// beginning says how a frame begins, of which src has arrived: its header, for the rest is a message, which is nobody's
// to see. Of the first of a session it also says what that looks like, and shows bytes that are known to be another
// protocol's. Text is only taken for another framing's where the frame is not legal; where frames have no header it may
// be a message, and so only other bytes are shown.
func (s *Session) beginning(src []byte, first, legal bool) string {
	shown, what := s.header(src), ""
	if first {
		what = firstbytes.DescribeForeign(src)
	}
	switch {
	case what != "":
		return "the peer's first bytes are " + firstbytes.Hex(src) + ", " + what
	case first && shown == nil && !firstbytes.IsText(src):
		return "the peer's first bytes are " + firstbytes.Hex(src)
	case len(shown) == 0:
		return ""
	case first && !legal && firstbytes.Describe(src) != "":
		return "the peer's first bytes are " + firstbytes.Describe(src)
	}
	return "the frame begins with " + firstbytes.Hex(shown)
}

// header returns what of src announces the frame's length; nil where it is not announced.
func (s *Session) header(src []byte) []byte {
	announcer, ok := s.parser().(frameAnnouncer)
	for n := 0; ok && n <= min(len(src), firstbytes.Shown); n++ {
		if _, told := announcer.FrameLength(src[:n]); told {
			return src[:n:n]
		}
	}
	return nil
}

// wrapping is the type of what fmt.Errorf wraps one error in: to unwrap it calls nothing of the user's.
var wrapping = reflect.TypeOf(fmt.Errorf("%w", io.EOF))

// saysBadFrame reports whether err is ErrFrameTooLarge or ErrMalformedFrame, or one of package codec's that wrap them.
func saysBadFrame(err error) bool {
	for reflect.TypeOf(err) == wrapping {
		err = errors.Unwrap(err)
	}
	return err == ErrFrameTooLarge || err == ErrMalformedFrame
}

// explainEnd adds to the error that ends a session within its first frame what the peer has sent, if that is known to
// be the beginning of something else.
func (s *Session) explainEnd(err error) error {
	src := s.in.Unread()
	if s.parsed > 0 || len(src) == 0 || s.skips() || firstbytes.DescribeForeign(src) == "" {
		return err
	}
	return explain(err, s.beginning(src, true, true))
}

// explainTLS adds to the error of a handshake what came in the place of TLS.
func explainTLS(err error) error {
	if notTLS, ok := err.(tls.RecordHeaderError); ok {
		return &explainedError{err, sockets.NotTLS(notTLS)}
	}
	return err
}

// A frameHead is the beginning of an incomplete frame.
type frameHead struct {
	bytes [firstbytes.Shown]byte
	n     int
}

// frameAnnouncer is what package codec's codecs have: how long a frame says that it is which begins so; not ok where
// that cannot be told.
type frameAnnouncer interface {
	FrameLength(head []byte) (n firstbytes.Length, ok bool)
}

// frameTimeout is ErrFrameTimeout with what is known of the frame: nothing where it is a plain codec's, or no more of
// it has come than a part of its header.
func (s *Session) frameTimeout(c *clock) error {
	s.mu.Lock()
	head := c.head
	s.mu.Unlock()
	src := head.bytes[:head.n]
	if head.n == 0 || !s.hasCodec() { // NewCodec, which is still at work, may set the parser any moment
		return ErrFrameTimeout
	}
	announcer, ok := s.parser().(frameAnnouncer)
	if !ok {
		return ErrFrameTimeout
	}
	came := s.notHanded()
	var text string
	if length, ok := announcer.FrameLength(src); ok {
		text = fmt.Sprintf("%d of %d bytes came", came, length)
	} else if came < len(head.bytes) {
		return ErrFrameTimeout
	} else {
		text = fmt.Sprintf("%d bytes came without the frame's end", came)
	}
	if how := s.beginning(src, s.Stats().MessagesIn == 0, true); how != "" {
		text += "; " + how
	}
	return explainedTimeout(ErrFrameTimeout, text)
}
