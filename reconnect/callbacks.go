package reconnect

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/errchain"
	"github.com/libnet-go/libnet/internal/usercode"
)

func (c *Client) tell(change Change) {
	if c.OnState == nil {
		return
	}
	var err error
	defer c.recovered("OnState", &err)
	c.OnState(change)
}

// recovered is deferred around user code. It turns a panic into *err, and logs it.
func (c *Client) recovered(what string, err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%w in %s: %s", libnet.ErrPanic, what, text(r))
		c.log(slog.LevelError, "libnet: panic", slog.Any("error", *err), slog.String("stack", string(debug.Stack())))
	}
}

// log may be called with no lock held only: the logger is the user's. A panic of its has nowhere to be told, and one
// that does not return keeps neither the client nor who sends.
func (c *Client) log(level slog.Level, msg string, attrs ...slog.Attr) {
	logger := c.Logger
	if logger == nil {
		logger = slog.Default()
	}
	c.lines.Write(func() { logger.LogAttrs(context.Background(), level, msg, attrs...) })
}

// text is that of an error, or of what a panic was given: one line, with a bound, since a part of it may come from a
// peer.
func text(value any) string {
	quoted := fmt.Sprintf("%.256q", usercode.Text(value))
	return quoted[1 : len(quoted)-1]
}

// is reports errors.Is, and no where the error's own methods panic.
func is(err, target error) bool {
	defer func() { _ = recover() }()
	return errchain.Is(err, target)
}

// goroutineID is the number of the calling goroutine, which only its stack trace tells. Shutdown asks for it, so as not
// to wait for the goroutine that it was called on.
func goroutineID() (id uint64) {
	var room [32]byte
	_, _ = fmt.Sscanf(string(room[:runtime.Stack(room[:], false)]), "goroutine %d", &id)
	return id
}
