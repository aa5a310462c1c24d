package mux

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/errchain"
)

var (
	// ErrMalformed is the reason of a session whose peer sent an envelope that cannot be read. It is a
	// [libnet.ErrMalformedFrame].
	ErrMalformed error = &malformedError{}

	// ErrTooManyCalls is returned by Call when as many calls of the session are pending as Mux.MaxCalls says.
	ErrTooManyCalls = errors.New("libnet: mux: too many pending calls")

	// ErrCallInOrder is returned by Call on the session whose message the caller is handling in order: nobody would
	// receive the reply before the handler has returned. Register the kind with [Concurrent].
	ErrCallInOrder = errors.New("libnet: mux: a call on the session whose handler runs in order would wait for itself")

	// ErrNoReply is returned by a handler, wrapped or not, for a message that is to have neither a reply nor a
	// [Failure]. A Call that waits for one ends with its context. With an [OrderedEnvelope] it is for messages to which
	// the peer expects no reply: it would take the next one for that.
	ErrNoReply = errors.New("libnet: mux: no reply")
)

type malformedError struct{}

func (*malformedError) Error() string { return "libnet: mux: an envelope that cannot be read" }
func (*malformedError) Unwrap() error { return libnet.ErrMalformedFrame }

// Codes of errors that the package itself sends. Those of users are theirs to choose.
const (
	CodeBadBody     uint32 = 400 // the body cannot be decoded
	CodeUnknownKind uint32 = 404 // no handler
	CodeInternal    uint32 = 500 // the handler's error is none that the peer is told
	CodeTimeout     uint32 = 504 // the handler's deadline has passed
)

// An Error is what a peer is told in the place of a reply. A handler returns one, wrapped or not, to choose code and
// text; of any other error the peer learns no more than that there was one, and the log the rest. A Call that is
// answered with one returns it: find it with errors.As.
type Error struct {
	Code uint32 `json:"code"`
	Text string `json:"text"` // at most 1,024 bytes of it are sent
}

// Error says code and text.
func (e *Error) Error() string {
	return "libnet: mux: error " + strconv.FormatUint(uint64(e.Code), 10) + ": " + e.Text
}

// maxText bounds the text of an error that is sent, and maxName that of an unknown kind in it.
const (
	maxText = 1024
	maxName = 64
)

// told is what the peer is told of a handler's error, and whether that was meant for it.
func told(err error) (e *Error, meant bool) {
	e, _ = errchain.As[*Error](err)
	switch {
	case e != nil:
		return &Error{Code: e.Code, Text: clip(e.Text, maxText)}, true
	case errchain.Is(err, context.DeadlineExceeded):
		return &Error{Code: CodeTimeout, Text: "deadline exceeded"}, true
	}
	return internalError(), false
}

func internalError() *Error { return &Error{Code: CodeInternal, Text: "internal error"} }

// clip is text up to n bytes, cut between two characters.
func clip(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

func unknownKind(k Kind) *Error {
	return &Error{Code: CodeUnknownKind, Text: fmt.Sprintf("unknown kind %q", k)}
}

// badBody is the error of a request whose body cannot be decoded; it wraps why.
func badBody(k Kind, err error) error {
	return fmt.Errorf("%w (%w)", &Error{Code: CodeBadBody, Text: fmt.Sprintf("kind %q: the body cannot be decoded", k)}, err)
}
