package reconnect

import (
	"log/slog"

	"github.com/libnet-go/libnet/internal/errchain"
)

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// Permanent returns err for Dial or OnConnect to return, alone or wrapped, where another attempt is of no use: a
// password is wrong, a name does not exist. It ends the client, whose Err returns it and whose OnState is told it with
// Closed; errors.Is and errors.As find err in it. What is held is lost. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

// isPermanent reports no where the error's own methods panic.
func isPermanent(err error) (permanent bool) {
	defer func() { _ = recover() }()
	_, permanent = errchain.As[*permanentError](err)
	return permanent
}

// endedFor ends the client if reason is one to end for; false if it goes on.
func (c *Client) endedFor(reason error) bool {
	if !isPermanent(reason) && !c.isFinal(reason) {
		return false
	}
	if c.end(reason) {
		c.log(slog.LevelError, "libnet: client has ended for good", slog.String("error", text(reason)))
	}
	return true
}

func (c *Client) isFinal(reason error) (final bool) {
	if c.Final == nil {
		return false
	}
	var err error
	defer c.recovered("Final", &err)
	return c.Final(reason)
}
