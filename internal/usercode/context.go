package usercode

import (
	"context"
	"reflect"
	"time"
)

// Context returns the context that the user has passed to call, or one in its place whose methods do not panic: package
// context, and net/http, ask it on goroutines of their own. What is derived from it ends with it in the same way. It
// panics where there is none.
func Context(ctx context.Context, call string) context.Context {
	if ctx == nil {
		panic("libnet: " + call + " with a nil context: context.Background() is one that does not end")
	}
	if harmless[reflect.TypeOf(ctx)] {
		return ctx
	}
	return guarded{ctx, ctx.Done()}
}

// harmless are the types of package context that keep their error themselves, and ask their parent, guarded or not,
// only for values.
var harmless = func() map[reflect.Type]bool {
	cancelled, cancel := context.WithCancel(context.Background())
	defer cancel()
	timed, cancelTimed := context.WithTimeout(context.Background(), time.Hour)
	defer cancelTimed()
	types := make(map[reflect.Type]bool)
	for _, ctx := range []context.Context{context.Background(), context.TODO(), cancelled, timed} {
		types[reflect.TypeOf(ctx)] = true
	}
	return types
}()

// guarded is a context whose Done was asked for once, by the call that it bounds.
type guarded struct {
	context.Context
	done <-chan struct{}
}

func (g guarded) Done() <-chan struct{} { return g.done }

// Err is nil until Done is closed, and never from then on.
func (g guarded) Err() error { return ContextErr(g.Context, g.done) }

// ContextErr is the error of a context of the user's with this Done.
func ContextErr(ctx context.Context, done <-chan struct{}) (err error) {
	select {
	case <-done:
	default:
		return nil
	}
	defer func() {
		if recover() != nil || err == nil {
			err = context.Canceled
		}
	}()
	return ctx.Err()
}

func (g guarded) Deadline() (deadline time.Time, ok bool) {
	defer func() { _ = recover() }()
	return g.Context.Deadline()
}

func (g guarded) Value(key any) (value any) {
	defer func() { _ = recover() }()
	return g.Context.Value(key)
}
