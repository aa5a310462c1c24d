package mux

import (
	"context"
	"math"
	"time"

	"github.com/libnet-go/libnet"
)

// Defaults of a Mux's numbers.
const (
	defaultMaxCalls    = 1024
	defaultCallTimeout = 30 * time.Second
)

func (m *Mux) maxCalls() int {
	switch {
	case m.MaxCalls == 0:
		return defaultMaxCalls
	case m.MaxCalls < 0:
		return math.MaxInt
	}
	return m.MaxCalls
}

func (m *Mux) callTimeout() time.Duration {
	if m.CallTimeout == 0 {
		return defaultCallTimeout
	}
	return m.CallTimeout
}

// A Peer is the other end of a session, to call. It is a small value, to be made when it is needed; any goroutine may use
// it.
type Peer struct {
	mux     *Mux
	session *libnet.Session
}

// Peer returns the other end of s, whose messages m must be given: by a server, by [Mux.Start], or by a reconnect.Client.
func (m *Mux) Peer(s *libnet.Session) Peer { return Peer{m, s} }

// Session returns the session.
func (p Peer) Session() *libnet.Session { return p.session }

// Call sends a request and waits for its reply, from client to server or from server to client; a nil req is one without
// a body. Calls of a session may be made by any number of goroutines, and be answered in any order.
//
// ctx bounds the wait, or Mux.CallTimeout where it has no deadline; its end forgets the call, whose reply is then counted
// and dropped. Errors: ctx's, or context.DeadlineExceeded after CallTimeout; the reason for which the session has ended;
// an *[Error] that the peer has sent in the place of a reply; [ErrTooManyCalls]; [ErrCallInOrder], at once, from a
// handler of this session that is not [Concurrent], which is known by the ctx that the handler was given; those of
// SendContext, with [libnet.ErrEncode] among them; and the envelope's, for a reply that cannot be decoded. Call from an
// OnClose callback, or with a context of another origin from a handler that runs in order, ends no sooner than ctx or
// CallTimeout.
//
// With an [OrderedEnvelope] a full queue is an error, [libnet.ErrSessionBlocked], and the writing of a session without
// a queue is bounded by Config.WriteTimeout only.
func Call[Req, Resp any](ctx context.Context, p Peer, k Kind, req *Req) (*Resp, error) {
	var body any
	if req != nil {
		body = req
	}
	c, err := p.call(ctx, k, body)
	if err != nil {
		return nil, err
	}
	defer c.free()
	if c.role == Failure {
		return nil, p.remote(c)
	}
	resp := new(Resp)
	if err := p.mux.envelope.Unmarshal(c.body, resp); err != nil {
		return nil, err
	}
	return resp, nil
}

// remote is the error with which the peer has answered.
func (p Peer) remote(c *call) error {
	e := new(Error)
	if err := p.mux.envelope.Unmarshal(c.body, e); err != nil {
		return err
	}
	return e
}

// call returns a call that was answered.
func (p Peer) call(ctx context.Context, k Kind, body any) (*call, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	switch caller := ctx.Value(callerKey{}).(type) {
	case inOrder:
		if caller.s == p.session {
			return nil, ErrCallInOrder
		}
	case *place:
		if caller.s == p.session {
			caller.wait()
			defer caller.goOn(ctx.Done())
		}
	}
	cs := p.mux.callsOf(p.session)
	c, err := cs.send(ctx, k, body)
	if err != nil {
		return nil, err
	}
	return cs.await(ctx, c)
}

// send enters a call and sends its request.
func (cs *calls) send(ctx context.Context, k Kind, body any) (*call, error) {
	if cs.mux.ordered {
		select {
		case cs.turn <- struct{}{}:
			defer func() { <-cs.turn }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	c, err := cs.begin(k)
	if err != nil {
		return nil, err
	}
	returned := false
	defer func() {
		if !returned { // the body has ended the goroutine, or panicked
			cs.take(c)
		}
	}()
	err = cs.transmit(ctx, Header{Kind: k, ID: c.id}, body)
	returned = true
	if err == nil {
		return c, nil
	}
	if !cs.take(c) {
		<-c.done // the session has ended, or the peer has been faster than an error of ours
	}
	c.free()
	return nil, err
}

// transmit sends a request. Of an ordered one it must be certain whether it was sent.
func (cs *calls) transmit(ctx context.Context, h Header, body any) error {
	out := outgoings.Get().(*outgoing)
	*out = outgoing{h, body}
	defer recycle(cs.session, out)
	if cs.mux.ordered {
		return cs.session.Send(out)
	}
	return cs.session.SendContext(ctx, out)
}

// await waits for the end of a call: its reply, the session's end, ctx's or that of the time that a call has.
func (cs *calls) await(ctx context.Context, c *call) (*call, error) {
	timeout, stop := cs.mux.timeout(ctx)
	defer stop()
	var err error
	select {
	case <-c.done:
		return c.result()
	case <-ctx.Done():
		err = ctx.Err()
	case <-timeout:
		err = context.DeadlineExceeded
	}
	if cs.forget(c) {
		if !cs.mux.ordered {
			c.free()
		}
		return nil, err
	}
	<-c.done // which is under way
	return c.result()
}

func (c *call) result() (*call, error) {
	if err := c.err; err != nil {
		c.free()
		return nil, err
	}
	return c, nil
}

func noStop() {}

// timeout is what bounds a call whose ctx does not.
func (m *Mux) timeout(ctx context.Context) (end <-chan time.Time, stop func()) {
	d := m.callTimeout()
	if _, ok := ctx.Deadline(); ok || d < 0 {
		return nil, noStop
	}
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}
