package resume

import (
	"errors"
	"fmt"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/errchain"
)

// Why a session ended, beside libnet's own: find them in a session's Err with errors.Is.
var (
	// ErrNotKept is the reason of a client's session that the server does not have: its window was over, it was evicted
	// or closed meanwhile, or the server was restarted.
	ErrNotKept = errors.New("libnet: resume: the server has not kept the session")

	// ErrWindow is the reason of a session that had no connection for Config.Window.
	ErrWindow = errors.New("libnet: resume: no connection within the window")

	// ErrEvicted is the reason of a session without a connection that a server gave up for others: see Server.MaxKept.
	ErrEvicted = errors.New("libnet: resume: given up, since too many sessions wait for their clients")

	// ErrRefused is what an attempt to connect fails with when the server takes no session now. A client tries again.
	ErrRefused = errors.New("libnet: resume: the server takes no session")

	// ErrDropOldest is why a connection is not used: its Config.OnFull is [libnet.DropOldest], so that its queue would
	// lose messages nobody were told of. A client's session ends with it.
	ErrDropOldest = errors.New("libnet: resume: the connection's OnFull is DropOldest, which loses messages")

	// ErrProtocol is the reason of a session, or of its connection, whose peer does not keep to the protocol. It is a
	// [libnet.ErrMalformedFrame].
	ErrProtocol error = &protocolError{}

	// ErrTakenOver is the reason of a connection whose session went on over another.
	ErrTakenOver = errors.New("libnet: resume: the session goes on over another connection")
)

type protocolError struct{}

func (*protocolError) Error() string { return "libnet: resume: the peer does not keep to the protocol" }
func (*protocolError) Unwrap() error { return libnet.ErrMalformedFrame }

// An Error is why a session ended, and what that cost: a session's Err is nil or an *Error. What Send has accepted is
// what the peer has acknowledged and Unacknowledged together. It unwraps to Err.
type Error struct {
	// Unacknowledged is how many messages of ours the peer has not acknowledged; always the last ones. It may have
	// taken some of them all the same: an acknowledgement can be lost, too.
	Unacknowledged uint64

	// Err is the reason: [libnet.ErrSessionClosed] for Close and Shutdown on this side, io.EOF where the peer ended the
	// session, or one of this package's.
	Err error
}

func (e *Error) Error() string {
	if e.Unacknowledged == 0 {
		return e.Err.Error()
	}
	return fmt.Sprintf("%v (%d messages not acknowledged)", e.Err, e.Unacknowledged)
}

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

// is reports errors.Is, and no where the error's own methods panic.
func is(err, target error) bool {
	defer func() { _ = recover() }()
	return errchain.Is(err, target)
}
