package cluster

import (
	"context"
	"reflect"
	"time"
)

// usersContext returns the context that a caller has passed, or one in its place whose methods do not panic: package
// context asks it on goroutines of its own, where a panic would end the process. It panics where there is none.
func usersContext(ctx context.Context) (guarded context.Context) {
	needContext(ctx)
	if harmless[reflect.TypeOf(ctx)] {
		return ctx
	}
	defer func() {
		if recover() != nil {
			guarded = &guardedContext{ctx, ended}
		}
	}()
	return &guardedContext{ctx, ctx.Done()}
}

func needContext(ctx context.Context) {
	if ctx == nil {
		panic("cluster: a nil context: context.Background() is one that does not end")
	}
}

// ended is the Done of a context that has none to give.
var ended = func() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}()

// harmless are the types of package context that ask their parent, which may be the user's, only for values here.
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

// A guardedContext was asked once for its Done.
type guardedContext struct {
	user context.Context
	done <-chan struct{}
}

func (g *guardedContext) Done() <-chan struct{} { return g.done }

// Err is nil until Done is closed, and never from then on.
func (g *guardedContext) Err() (err error) {
	select {
	case <-g.done:
	default:
		return nil
	}
	defer func() {
		if recover() != nil || err == nil {
			err = context.Canceled
		}
	}()
	return g.user.Err()
}

func (g *guardedContext) Deadline() (deadline time.Time, ok bool) {
	defer func() { _ = recover() }()
	return g.user.Deadline()
}

func (g *guardedContext) Value(key any) (value any) {
	defer func() { _ = recover() }()
	return g.user.Value(key)
}
