package mux

import (
	"context"
	"fmt"

	"github.com/libnet-go/libnet"
)

// A Request is a message on its way to its handler.
type Request struct {
	Session *libnet.Session // nil where the message came on none: see [Mux.Answer]
	Kind    Kind
	ID      uint64 // 0 where the message has none
	Body    []byte // encoded; valid until the Handler returns, and not to be changed

	to *route
}

// WantsReply reports whether the peer waits for a reply. Of an [OrderedEnvelope], whose messages do not say so, it does
// if the kind was registered with [Handle], or not at all.
func (r Request) WantsReply() bool {
	return r.ID != 0 || r.to != nil && r.to.mux.ordered && r.to.replies
}

// A Handler serves one message, whatever its kind, and returns the body of the reply, nil for none. It is what
// middleware sees: the innermost one decodes the body and calls what [Handle] or [On] was given. ctx ends with the
// session.
type Handler func(ctx context.Context, r Request) (reply any, err error)

// A Middleware is put around handlers. It is called once a kind, when that is registered, and by [New] once for all
// unknown ones. The Handler that it returns is called once a message, by as many goroutines as there are sessions.
type Middleware func(next Handler) Handler

// An Option is how a kind is registered.
type Option func(*registration)

type registration struct {
	places int
	around []Middleware
}

// Concurrent has up to n messages of the kind that came on one session handled at a time, each on a goroutine of its
// own, and replied to in the order in which they are done; an n below 1 counts as 1. Such a handler may call its own
// session's peer, with the ctx that it was given or one made of it, and does not count among the n while it waits for
// the reply. When there are n, the session receives nothing until one has returned or waits so. A Shutdown does not
// wait for them.
func Concurrent(n int) Option {
	return func(o *registration) { o.places = max(n, 1) }
}

// With puts middleware around the kind, within that of [New]; the first is the outermost.
func With(around ...Middleware) Option {
	return func(o *registration) { o.around = append(o.around, around...) }
}

// Handle has f handle the messages of a kind and reply to them. A message that asks for no reply is handled as well;
// what f returns is then dropped. A nil reply is one without a body. It is queued when f has returned, behind what f
// has sent: where its order beside messages of others matters, f sends a [Message] of its own under the lock that keeps
// that order. f may keep and change req. ctx ends with the session.
//
// An error of f is sent in the place of a reply, as [Error] says; about a message that asked for none, an Error is
// sent, too, but with an [OrderedEnvelope]. [ErrNoReply] has nothing sent.
//
// Messages of a session are handled one at a time, in order, on the goroutine that receives: f should wait for nothing
// that takes long, and cannot call its own session's peer, unless the kind is [Concurrent].
//
// It panics without an f, for a kind that is registered already, or that the envelope cannot carry, and after serving
// began.
func Handle[Req, Resp any](
	m *Mux, k Kind, f func(ctx context.Context, s *libnet.Session, req *Req) (*Resp, error), options ...Option,
) {
	needFunction(k, f == nil)
	handler := func(ctx context.Context, r Request) (any, error) {
		req, err := decode[Req](r)
		if err != nil {
			return nil, err
		}
		resp, err := f(ctx, r.Session, req)
		if resp == nil || err != nil {
			return nil, err
		}
		return resp, nil
	}
	m.register(&route{kind: k, replies: true, handler: handler}, options)
}

// On is [Handle] for messages that want no reply. One that asks for a reply gets one without a body when f has
// returned.
func On[Req any](
	m *Mux, k Kind, f func(ctx context.Context, s *libnet.Session, req *Req) error, options ...Option,
) {
	needFunction(k, f == nil)
	handler := func(ctx context.Context, r Request) (any, error) {
		req, err := decode[Req](r)
		if err != nil {
			return nil, err
		}
		return nil, f(ctx, r.Session, req)
	}
	m.register(&route{kind: k, handler: handler}, options)
}

func needFunction(k Kind, isNil bool) {
	if isNil {
		panic(fmt.Sprintf("libnet: mux: kind %q with a nil function", k))
	}
}

func decode[Req any](r Request) (*Req, error) {
	req := new(Req)
	m := r.to.mux
	if err := m.envelope.Unmarshal(r.Body, req); err != nil {
		m.counts.badBodies.Add(1)
		return nil, badBody(r.Kind, err)
	}
	return req, nil
}

// refuseUnknown is the handler of kinds that have none.
func (m *Mux) refuseUnknown(_ context.Context, r Request) (any, error) {
	m.counts.unknown.Add(1)
	return nil, unknownKind(r.Kind)
}
