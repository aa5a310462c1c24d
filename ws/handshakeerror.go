package ws

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/libnet-go/libnet/internal/errchain"
	"github.com/libnet-go/libnet/internal/usercode"
)

// A HandshakeError is wrapped by the error of a [Dial] whose server has answered, and not agreed to a WebSocket: find
// it with errors.As. Its StatusCode tells what to try again (503, 429) from what will not get better (401, 404). On a
// server it is what HandlerOptions.Check refuses with, and the reason of a session of a [Protocol] whose handshake has
// failed.
type HandshakeError struct {
	StatusCode int         // of the answer; 101 if the rest of it was wrong
	Header     http.Header // of the answer, Retry-After perhaps among it
	Body       []byte      // of the answer, its first 1,024 bytes; empty for 101
	Err        error       // the error in words; nil will do for Check
}

func (e *HandshakeError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("libnet: ws: refused with %d %s", e.StatusCode, http.StatusText(e.StatusCode))
	}
	return e.Err.Error()
}

// Unwrap returns e.Err.
func (e *HandshakeError) Unwrap() error { return e.Err }

// isEOF reports whether io.EOF is in the chain of an error that may be the NetDialer's.
func isEOF(err error) bool {
	is, _ := usercode.Answer(func() bool { return errchain.Is(err, io.EOF) })
	return is
}

// dialError is Dial's for what the WebSocket library answered: the cause of ctx's end, if that has ended it.
func dialError(ctx context.Context, response *http.Response, err error) error {
	switch cause := context.Cause(ctx); cause {
	case nil:
	case context.Canceled, context.DeadlineExceeded:
		return cause
	default:
		return usercode.Asked(cause) // it may be the user's, and the caller has its text
	}
	if response == nil && isEOF(err) {
		return fmt.Errorf("the server ended the connection without an HTTP answer, as one does that is no WebSocket server: %w", err)
	}
	if response == nil {
		return err
	}
	var body []byte
	if response.Body != nil && response.StatusCode != http.StatusSwitchingProtocols {
		body, _ = io.ReadAll(response.Body) // which the library has read from the connection already
	}
	return &HandshakeError{StatusCode: response.StatusCode, Header: response.Header, Body: body, Err: err}
}
