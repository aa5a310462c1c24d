package mux

import (
	"context"
	"time"

	"github.com/libnet-go/libnet"
)

// inOrder is the context of a handler that runs in order: it ends with the session, and costs nothing until somebody
// asks for that.
type inOrder struct{ s *libnet.Session }

// callerKey finds the context of the handler in those that are derived from it: an inOrder or a *place.
type callerKey struct{}

func (c inOrder) Deadline() (deadline time.Time, ok bool) { return time.Time{}, false }

func (c inOrder) Done() <-chan struct{} { return c.s.Done() }

// Err is not nil from when Done's channel is closed, which is later than the session's first refusal.
func (c inOrder) Err() error {
	if !c.s.IsClosed() {
		return nil
	}
	select {
	case <-c.s.Done():
		return context.Canceled
	default:
		return nil
	}
}

func (c inOrder) Value(key any) any {
	if _, ok := key.(callerKey); ok {
		return c
	}
	return nil
}

// AfterFunc spares package context a goroutine for each context that is derived from this one.
func (c inOrder) AfterFunc(f func()) (stop func() bool) { return c.s.OnClose(f) }
