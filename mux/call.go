package mux

import (
	"context"
	"math"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/setting"
	"github.com/libnet-go/libnet/internal/usercode"
)

// Defaults of a Mux's numbers.
const (
	defaultMaxCalls    = 1024
	defaultCallTimeout = 30 * time.Second
)

func (m *Mux) maxCalls() int { return setting.Resolve(m.MaxCalls, defaultMaxCalls, math.MaxInt) }

// bounded is ctx, which ends after CallTimeout where it has no deadline.
func (m *Mux) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	d := setting.Resolve(m.CallTimeout, defaultCallTimeout, 0)
	if _, ok := ctx.Deadline(); ok || d == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, d)
}

// A Peer is the other end of a session, to call. It is a small value, to be made when it is needed; any goroutine may
// use it.
type Peer struct {
	mux     *Mux
	session *libnet.Session
	link    Link    // in the place of a session
	carrier Carrier // in the place of both
	sync    bool    // Call receives
}

// A Link is what has a session most of the time, and makes another when that ends: a *reconnect.Client.
type Link interface {
	// Ready waits until there is a session, and returns that. Neither a session nor an error counts as
	// libnet.ErrSessionClosed.
	Ready(ctx context.Context) (*libnet.Session, error)
}

// Peer returns the other end of s, whose messages m must be given: by a server, by [Mux.Start], or by a
// reconnect.Client. Where s is nil, as that client's Session while there is none, Call fails at once with
// [libnet.ErrSessionClosed].
func (m *Mux) Peer(s *libnet.Session) Peer { return Peer{mux: m, session: s} }

// Through returns the other end of the sessions that a reconnect.Client keeps up, whose Handler m must be. Call waits
// for one while there is none; its error is then Ready's. A call whose session ends is not repeated: it may have been
// served. To fail in the place of waiting, use [Mux.Peer] with the client's Session.
func (m *Mux) Through(l Link) Peer {
	if usercode.IsMissing(l) {
		l = nil
	}
	return Peer{mux: m, link: l}
}

// SyncPeer returns the other end of a session that nobody receives on: in OnConnect of a reconnect.Client, where a
// login belongs, in OnSession of a server that asks its clients (for a login that they send, see [Mux.ServeMessage]),
// and in a program that does nothing but call. One Call at a time receives, and has what else comes handled, until it
// has its reply. ctx's end, or that of Mux.CallTimeout, then ends the session.
func (m *Mux) SyncPeer(s *libnet.Session) Peer { return Peer{mux: m, session: s, sync: true} }

// Call sends a request and waits for its reply, from client to server or from server to client; a nil req is one
// without a body. Calls of a session may be made by any number of goroutines, and be answered in any order.
//
// ctx bounds the wait, or Mux.CallTimeout where it has no deadline; its end forgets the call, whose reply is then
// counted and dropped. Errors: ctx's, or context.DeadlineExceeded after CallTimeout; the reason for which the session
// has ended; an *[Error] that the peer has sent in the place of a reply; [ErrTooManyCalls]; those of SendContext, with
// [libnet.ErrEncode] among them; and the envelope's, for a reply that cannot be decoded.
//
// From a handler of the same session that is not [Concurrent] it returns [ErrCallInOrder] at once: nobody would receive
// the reply. The handler is known by the ctx that it was given; with a context of another origin the call ends with
// that.
//
// Requests and replies are messages as others are: one that Config.OnFull DropOldest drops leaves its call to wait for
// ctx. With an [OrderedEnvelope] a full queue is an error, [libnet.ErrSessionBlocked], and the writing of a session
// without a queue is bounded by Config.WriteTimeout only.
func Call[Req, Resp any](ctx context.Context, p Peer, k Kind, req *Req) (*Resp, error) {
	var body any
	if req != nil {
		body = req
	}
	a, err := p.call(ctx, k, body)
	if err != nil {
		return nil, err
	}
	if a.role == Failure {
		e := new(Error)
		if err := p.mux.envelope.Unmarshal(a.body, e); err != nil {
			return nil, err
		}
		return nil, e
	}
	resp := new(Resp)
	if err := p.mux.envelope.Unmarshal(a.body, resp); err != nil {
		return nil, err
	}
	return resp, nil
}

func (p Peer) call(ctx context.Context, k Kind, body any) (answer, error) {
	switch ctx.(type) {
	case inOrder, *place: // ours
	default:
		ctx = usercode.Context(ctx, "mux.Call")
	}
	if p.mux == nil {
		panic("libnet: mux: a call of a zero Peer: a Mux makes one")
	}
	if err := ctx.Err(); err != nil {
		return answer{}, err
	}
	ctx, cancel := p.mux.bounded(ctx)
	defer cancel()
	if p.carrier != nil {
		return p.carry(ctx, k, body)
	}
	s, err := p.find(ctx)
	if err != nil {
		return answer{}, err
	}
	switch caller := ctx.Value(callerKey{}).(type) {
	case inOrder:
		if caller.s == s {
			return answer{}, ErrCallInOrder
		}
	case *place:
		if caller.s == s {
			caller.pause()
			defer caller.resume(ctx)
		}
	}
	cs := p.mux.callsOf(s)
	c, err := cs.send(ctx, k, body)
	if err != nil {
		return answer{}, err
	}
	if p.sync {
		return cs.receive(ctx, c)
	}
	return cs.await(ctx, c)
}

// find returns the session to call.
func (p Peer) find(ctx context.Context) (*libnet.Session, error) {
	switch {
	case p.session != nil:
		return p.session, nil
	case p.link == nil:
		return nil, libnet.ErrSessionClosed
	}
	s, err := p.link.Ready(ctx)
	if s == nil && err == nil {
		err = libnet.ErrSessionClosed
	}
	return s, err
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
	sent := false
	defer func() {
		if !sent { // the queue is full, or the body cannot be encoded, or has panicked
			cs.take(c)
		}
	}()
	err = cs.transmit(ctx, Header{Kind: k, ID: c.id}, body)
	sent = err == nil
	return c, err
}

// transmit sends a request. Of an ordered one it must be certain whether it was sent.
func (cs *calls) transmit(ctx context.Context, h Header, body any) error {
	out := newOutgoing(h, body)
	var err error
	if cs.mux.ordered {
		err = cs.session.Send(out)
	} else {
		err = cs.session.SendContext(ctx, out)
	}
	out.recycle(err)
	return err
}

// await waits for the end of a call: its reply, the session's end, or ctx's.
func (cs *calls) await(ctx context.Context, c *call) (answer, error) {
	select {
	case <-ctx.Done():
		if cs.forget(c) {
			return answer{}, ctx.Err()
		}
	case <-cs.over:
	case a := <-c.done:
		return a, nil
	}
	return cs.outcome(c)
}

// outcome is what a call ended with that pends no more: a reply, which may be under way, or else the session's end.
func (cs *calls) outcome(c *call) (answer, error) {
	select {
	case a := <-c.done:
		return a, nil
	case <-cs.over:
	}
	select {
	case a := <-c.done: // which came before that
		return a, nil
	default:
		return answer{}, cs.reason
	}
}

// receive is await where nobody else receives.
func (cs *calls) receive(ctx context.Context, c *call) (answer, error) {
	defer cs.forget(c) // where a handler panics
	stop := context.AfterFunc(ctx, func() { _ = cs.session.CloseWithError(ctx.Err()) })
	defer stop()
	var buf []byte
	for {
		select {
		case a := <-c.done:
			return a, nil
		default:
		}
		msg, err := cs.session.ReceiveInto(buf)
		if err != nil { // it has ended
			return cs.outcome(c)
		}
		cs.mux.ServeMessage(cs.session, msg)
		buf = msg
	}
}
