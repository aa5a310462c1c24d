package mux

import (
	"bytes"
	"context"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/inside"
	"github.com/libnet-go/libnet/internal/lock"
)

// callerKey finds the context of the handler in those that are derived from it: an inOrder or a *place.
type callerKey struct{}

// inOrder is the context of a handler that runs in order: it ends with the session, and costs nothing until somebody
// asks for that.
type inOrder struct{ s *libnet.Session }

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

// AfterFunc spares package context a goroutine that waits, for each context that is derived from this one. That holds a
// lock, which f takes, while it calls this: f is not to run before it returns. Nor is it before Done is closed, since
// it asks for Err, and it does not come behind the user's close callbacks: one may wait for a handler that waits for a
// derived context.
func (c inOrder) AfterFunc(f func()) (stop func() bool) {
	return inside.OnEnd(c.s, func() {
		go func() {
			<-c.s.Done()
			f()
		}()
	})
}

// A place is one of the n of a [Concurrent] handler, and its context. It is given up while the handler waits in a Call,
// or n handlers that wait for replies would keep those from being received.
type place struct {
	inOrder
	places chan struct{} // holds one for each place that is taken

	mu lock.Mutex[placeLock]
	// mu guards the following.
	waiting  int // calls that the handler waits in
	taken    bool
	resuming bool // a call that is over waits for the place
}

func (p *place) Value(key any) any {
	if _, ok := key.(callerKey); ok {
		return p
	}
	return nil
}

// serveConcurrently has a goroutine handle a message, once there is a place for it.
func (m *Mux) serveConcurrently(r Request) {
	p := &place{inOrder: inOrder{r.Session}, places: m.callsOf(r.Session).places(r.to), taken: true}
	select {
	case p.places <- struct{}{}:
	case <-r.Session.Done():
		return
	}
	r.Body = bytes.Clone(r.Body)
	go func() {
		defer p.finish()
		m.guarded(r, func() { m.serve(p, &r) })
	}()
}

// pause gives the place up, at the first of the handler's calls that wait at a time.
func (p *place) pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting++; p.taken {
		p.taken = false
		<-p.places
	}
}

// resume takes a place again after the last of them. It does not wait for longer than the caller of Call would.
func (p *place) resume(ctx context.Context) {
	if !p.mayResume() {
		return
	}
	got := false
	select {
	case p.places <- struct{}{}:
		got = true
	case <-p.s.Done():
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resuming = false
	if p.taken = got && p.waiting == 0; got && !p.taken { // another call has begun meanwhile, or the handler has returned
		<-p.places
	}
}

// mayResume holds for one call at a time: a second that waited for a place would wait for the first, which its handler
// may hold until both are back.
func (p *place) mayResume() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting--; p.waiting > 0 || p.resuming {
		return false
	}
	p.resuming = true
	return true
}

// finish gives the place back when the handler has returned. What goes on after it, with its context, takes none.
func (p *place) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = 1 << 30
	if p.taken {
		p.taken = false
		<-p.places
	}
}
