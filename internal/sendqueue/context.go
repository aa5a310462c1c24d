package sendqueue

import (
	"context"
	"time"

	"github.com/libnet-go/libnet/internal/usercode"
)

// A Context is a context of the user's, whose Done was asked for once: by the call that it bounds, before that has
// taken anything which others wait for. Its methods neither panic nor say that one which is done has no error, so it
// may be asked on any goroutine.
type Context struct {
	context.Context
	done <-chan struct{}
}

// Background is never done.
var Background = NewContext(context.Background())

// NewContext asks for ctx's Done. It panics for the users of libnet who have none.
func NewContext(ctx context.Context) Context {
	if ctx == nil {
		panic("libnet: a nil context: context.Background() is one that does not end")
	}
	return Context{ctx, ctx.Done()}
}

// Done is what ctx's Done returned.
func (c Context) Done() <-chan struct{} { return c.done }

// Err is nil until Done is closed, and never from then on.
func (c Context) Err() error { return usercode.ContextErr(c.Context, c.done) }

// Deadline is that of ctx, and none where the user's panics.
func (c Context) Deadline() (deadline time.Time, ok bool) {
	defer func() { _ = recover() }()
	return c.Context.Deadline()
}

// Value is that of a context without any.
func (Context) Value(any) any { return nil }
