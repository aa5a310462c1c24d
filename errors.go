package libnet

import (
	"fmt"
	"net"
	"os"
)

// Errors of Send, Receive and the lifecycle. A session's [Session.Err] is one of these, io.EOF or
// io.ErrUnexpectedEOF after the peer's end, the transport's own error, or an error that wraps one.
var (
	// ErrSessionClosed is returned by Send, by Receive and by a second Close after the session was
	// closed on this side. errors.Is(ErrSessionClosed, net.ErrClosed) holds.
	ErrSessionClosed error = &closedError{"libnet: session closed"}

	// ErrServerClosed is returned by Server.Serve, Server.ServeMessages and Server.NewSession after
	// Stop or Shutdown, and is the reason of the sessions these closed. It, too, is a net.ErrClosed.
	ErrServerClosed error = &closedError{"libnet: server closed"}

	// ErrSessionBlocked is returned by Send when the queue is full and Config.OnFull is
	// RejectNewest. Nothing was queued; the session is open.
	ErrSessionBlocked error = newError("libnet: send queue full")

	// ErrFrameTooLarge is returned by Send for a message over the limit: nothing was queued, the
	// session is open. It is the reason of a session whose peer announced or sent such a frame.
	ErrFrameTooLarge error = newError("libnet: frame too large")

	// ErrMalformedFrame is the reason of a session whose peer sent bytes that are no frame.
	ErrMalformedFrame error = newError("libnet: malformed frame")

	// ErrEncode is wrapped by the error of a Send whose message cannot be encoded: nothing was
	// queued, the session is open.
	ErrEncode error = newError("libnet: message cannot be encoded")

	// ErrHandshakeTimeout is the reason of a session that brought no complete message within
	// Config.HandshakeTimeout of being accepted.
	ErrHandshakeTimeout error = &timeoutError{"libnet: handshake timeout"}

	// ErrProxyHeader is wrapped by the reason of a session whose peer, a proxy by Server.ProxyProtocol, did not begin with a header of
	// the PROXY protocol in time, or with one that is malformed or too long. Its text says which.
	ErrProxyHeader error = newError("libnet: PROXY header")

	// ErrFrameTimeout is the reason of a session whose peer began a frame and did not complete it
	// within Config.FrameTimeout.
	ErrFrameTimeout error = &timeoutError{"libnet: frame timeout"}

	// ErrWriteTimeout is the reason of a session whose peer took no byte for Config.WriteTimeout.
	ErrWriteTimeout error = &timeoutError{"libnet: write timeout"}

	// ErrIdleTimeout is the reason of a session from which nothing came for Config.IdleTimeout.
	ErrIdleTimeout error = &timeoutError{"libnet: idle timeout"}

	// ErrSlowConsumer is returned by Send, and is the session's reason, when the queue was full and
	// Config.OnFull is CloseSession.
	ErrSlowConsumer error = newError("libnet: slow consumer")

	// ErrRateLimit is the reason of a session whose peer sent more than Config.RateLimit allows, where that says End.
	ErrRateLimit error = newError("libnet: rate limit exceeded")

	// ErrPanic is wrapped by the reason of a session whose handler, codec, callback or heartbeat
	// panicked.
	ErrPanic error = newError("libnet: panic")

	// ErrTooManySessions is returned by Server.NewSession, and counted, when Server.MaxSessions
	// are open.
	ErrTooManySessions error = newError("libnet: too many sessions")

	// ErrTooManySessionsPerIP is returned by Server.NewSession, and counted, when
	// Server.MaxSessionsPerIP are open from one address. It is the reason of a session behind a proxy that is one too many.
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
type timeoutError struct{ text string }

func (e *timeoutError) Error() string        { return e.text }
func (e *timeoutError) Timeout() bool        { return true }
func (e *timeoutError) Temporary() bool      { return true }
func (e *timeoutError) Is(target error) bool { return target == os.ErrDeadlineExceeded }
