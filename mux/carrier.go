package mux

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/errchain"
	"github.com/libnet-go/libnet/internal/usercode"
)

// A Carrier takes a request to a Mux that has no session with this one, whose [Mux.Answer] it is given to, and brings
// back what that returns: a Service of package cluster. Carry may be called by any goroutine, keeps no part of request,
// and ends with ctx; the reply is the caller's. Its error is Call's.
type Carrier interface {
	Carry(ctx context.Context, request []byte) (reply []byte, err error)
}

// Over returns a peer whose calls c takes to it. Mux.CallTimeout bounds them where their context has no deadline, and
// Mux.MaxCalls does not count them. A reply that cannot be read is [ErrMalformed]. It panics without c.
func (m *Mux) Over(c Carrier) Peer {
	if usercode.IsMissing(c) {
		panic("libnet: mux: Over without a Carrier")
	}
	return Peer{mux: m, carrier: c}
}

// carriedID is the id of each request that is carried: what asks for a reply has one.
const carriedID = 1

func (p Peer) carry(ctx context.Context, k Kind, body any) (answer, error) {
	m := p.mux
	kinds := m.known()
	request, err := m.envelope.Append(nil, Header{Kind: k, ID: carriedID}, body)
	if err != nil {
		return answer{}, err
	}
	reply, err := p.carrier.Carry(ctx, request)
	if err != nil {
		return answer{}, err
	}
	h, content, ok := m.envelope.Open(kinds, reply)
	switch {
	case !ok:
	case h.Role == Failure, h.Role == Reply:
		return answer{role: h.Role, body: content}, nil
	case m.ordered && h.Kind == k: // whose replies are messages of the same kind
		return answer{role: Reply, body: content}, nil
	}
	return answer{}, ErrMalformed
}

// Answer handles a request that came on no session, as a [Carrier] brings it, and returns what answers it: a reply, or
// a [Failure] with the error of the handler, as [Error] says. Handlers and middleware are given a nil session. ctx is
// theirs, and ends when nobody waits any more. Requests are not put in any order, and [Concurrent] does not bound them:
// whoever calls Answer does. A handler that panics is answered with [CodeInternal], and logged.
//
// Errors: [ErrMalformed] for a request that cannot be read; [ErrNoReply], with which a handler has nothing sent.
func (m *Mux) Answer(ctx context.Context, request []byte) (reply []byte, err error) {
	kinds := m.known()
	h, body, ok := m.envelope.Open(kinds, request)
	if !ok || h.Role != Ask {
		return nil, ErrMalformed
	}
	r := m.request(nil, kinds, &h, body)
	reply, failure, why := m.handleCarried(ctx, r)
	if failure == nil {
		return reply, why
	}
	if why != nil {
		m.log(r, why)
	}
	return m.envelope.Append(nil, Header{Kind: r.Kind, ID: r.ID, Role: Failure, to: r.to}, failure)
}

// handleCarried calls the handler and encodes what it returns. A failure is what answers in the place of a reply; why
// is then the error of which the peer is told no more: what the handler, or a method of its error, panics with is one,
// for there is no session to end. Without a failure why is nil or ErrNoReply.
func (m *Mux) handleCarried(ctx context.Context, r Request) (reply []byte, failure *Error, why error) {
	defer func() {
		if value := recover(); value != nil {
			why = fmt.Errorf("%w in a handler: %s\n%s", libnet.ErrPanic, clip(usercode.Text(value), maxText), debug.Stack())
			reply, failure = nil, internalError()
		}
	}()
	result, err := r.to.handler(ctx, r)
	if err == nil {
		reply, err = m.envelope.Append(nil, Header{Kind: r.Kind, ID: r.ID, Role: Reply, to: r.to}, result)
	}
	switch {
	case err == nil:
		return reply, nil, nil
	case errchain.Is(err, ErrNoReply):
		return nil, nil, ErrNoReply
	}
	failure, meant := told(err)
	if meant {
		return nil, failure, nil
	}
	return nil, failure, err
}
