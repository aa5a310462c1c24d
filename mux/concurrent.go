package mux

import (
	"bytes"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/lock"
)

// serveConcurrently has a goroutine handle a message, once there is a place for it.
func (m *Mux) serveConcurrently(r Request) {
	p := &place{inOrder: inOrder{r.Session}, places: m.callsOf(r.Session).places(r.to)}
	if !p.take() {
		return
	}
	r.Body = bytes.Clone(r.Body)
	go m.runConcurrently(p, r)
}

func (m *Mux) runConcurrently(p *place, r Request) {
	returned := false
	defer func() {
		if !returned {
			m.ended(r, recover())
		}
		p.leave()
	}()
	m.serve(p, r)
	returned = true
}

// ended ends a session whose handler has panicked, with the value it did so with, or has ended its goroutine.
func (m *Mux) ended(r Request, value any) {
	if value == nil {
		_ = r.Session.CloseWithError(libnet.ErrSessionClosed)
		return
	}
	err := fmt.Errorf("%w in a handler: %s", libnet.ErrPanic, panicText(value))
	_ = r.Session.CloseWithError(err)
	defer func() { _ = recover() }() // Failed and the logger are the user's
	m.failed(r, fmt.Errorf("%w\n%s", err, debug.Stack()))
}

// panicText is what a panic says. The value's own methods may panic in their turn.
func panicText(value any) (text string) {
	defer func() {
		if recover() != nil {
			text = fmt.Sprintf("a %T", value)
		}
	}()
	switch v := value.(type) {
	case string:
		return clip(v, maxText)
	case runtime.Error:
		return clip(v.Error(), maxText)
	}
	return fmt.Sprintf("a %T", value)
}

// A place is one of the n of a [Concurrent] handler, and its context. It is given up while the handler waits in a Call,
// or n handlers that wait for replies would keep those from being received.
type place struct {
	inOrder
	places chan struct{} // holds one for each place that is taken

	mu lock.Mutex[placeLock]
	// mu guards the following.
	waiting int // calls that the handler waits in
	taken   bool
}

func (p *place) Value(key any) any {
	if _, ok := key.(callerKey); ok {
		return p
	}
	return nil
}

// take waits for a place; false if the session has ended before there was one.
func (p *place) take() bool {
	select {
	case p.places <- struct{}{}:
	default:
		select {
		case p.places <- struct{}{}:
		case <-p.s.Done():
			return false
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken = true
	return true
}

// wait gives the place up, at the first of the handler's calls that wait at a time.
func (p *place) wait() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting++; p.taken {
		p.taken = false
		<-p.places
	}
}

// goOn takes a place again after the last of them. It does not wait for longer than the caller of Call would.
func (p *place) goOn(done <-chan struct{}) {
	p.mu.Lock()
	p.waiting--
	last := p.waiting == 0
	p.mu.Unlock()
	if !last {
		return
	}
	select {
	case p.places <- struct{}{}:
	case <-p.s.Done():
		return
	case <-done:
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting > 0 || p.taken {
		<-p.places // another call has begun meanwhile, or has come back
		return
	}
	p.taken = true
}

// leave gives the place back when the handler has returned. What goes on after it, with its context, has none.
func (p *place) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = 1 << 30
	if p.taken {
		p.taken = false
		<-p.places
	}
}
