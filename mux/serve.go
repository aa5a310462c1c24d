package mux

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/errchain"
)

// A Message is what Send and Broadcast take on sessions whose protocol is made with a Mux: a message that asks for no
// reply. Body is a pointer, or nil for none. A pointer to a Message spares Send an allocation.
//
//	s.Send(mux.Message{Kind: "said", Body: &Said{…}})
type Message struct {
	Kind Kind
	Body any
}

// outgoing is a message of the Mux's own.
type outgoing struct {
	header Header
	body   any

	use     uint32        // how often it was used
	encoded atomic.Uint32 // the last use that was encoded: nobody looks at it any more
}

// AppendMarshal encodes a [Message], or a pointer to one; a []byte is taken for one that is encoded already, as by
// another process. It makes the Mux a [codec.Marshaler].
func (m *Mux) AppendMarshal(dst []byte, msg any) ([]byte, error) {
	switch msg := msg.(type) {
	case *outgoing:
		out, err := m.envelope.Append(dst, msg.header, msg.body)
		msg.encoded.Store(msg.use)
		return out, err
	case Message:
		return m.envelope.Append(dst, Header{Kind: msg.Kind}, msg.Body)
	case *Message:
		if msg != nil {
			return m.envelope.Append(dst, Header{Kind: msg.Kind}, msg.Body)
		}
	case []byte:
		return append(dst, msg...), nil
	}
	return dst, fmt.Errorf("%w: a %T is no mux.Message", libnet.ErrEncode, msg)
}

// ServeSession receives and handles the messages of s until it ends: it makes the Mux a [libnet.Handler].
func (m *Mux) ServeSession(s *libnet.Session) {
	m.known()
	for msg := range s.Messages() {
		m.ServeMessage(s, msg)
	}
}

// Start receives and handles the messages of a session that was dialled, on a goroutine of its own, until the session
// ends, and returns its peer. A handler that panics ends the session, for a reason that wraps [libnet.ErrPanic].
// It panics without a session.
func (m *Mux) Start(s *libnet.Session) Peer {
	if s == nil || s.ID() == 0 {
		panic("libnet: mux: Start without a session")
	}
	m.known()
	go m.guarded(Request{Session: s}, func() { m.ServeSession(s) })
	return m.Peer(s)
}

// ServeMessage handles a message of s: one that is given to libnet.Server.ServeMessages, or that was received by
// whoever serves s by itself: a server's OnSession, as in the example of a login. An envelope that cannot be read ends
// the session.
func (m *Mux) ServeMessage(s *libnet.Session, msg []byte) {
	kinds := m.known()
	h, body, ok := m.envelope.Open(kinds, msg)
	switch {
	case !ok || h.Role > Failure:
		_ = s.CloseWithError(ErrMalformed)
		return
	case h.Role != Ask:
		m.answered(s, h, body)
		return
	case m.ordered && m.answeredInOrder(s, h, body):
		return
	}
	r := m.request(s, kinds, &h, body)
	if r.to.places > 0 {
		m.serveConcurrently(r)
		return
	}
	m.serve(inOrder{s}, &r)
}

// request is what handlers are given of a message that came on s, nil for none. m.unknown serves it where kinds has no
// route for it.
func (m *Mux) request(s *libnet.Session, kinds *Kinds, h *Header, body []byte) Request {
	r := Request{Session: s, Kind: h.Kind, ID: h.ID, Body: body, to: m.unknown}
	if to := kinds.route(h); to != nil {
		r.to, r.Kind = to, to.kind
	}
	return r
}

// serve calls the handler and sends what it returned.
func (m *Mux) serve(ctx context.Context, r *Request) {
	reply, err := r.to.handler(ctx, *r)
	if err == nil && r.WantsReply() {
		err = m.send(r, Reply, reply)
		if err != nil && !isUnsendable(err) {
			return
		}
	}
	if err != nil && !errchain.Is(err, ErrNoReply) {
		m.refuse(r, err)
	}
}

// isUnsendable reports whether the reply was wrong, and not the session.
func isUnsendable(err error) bool {
	return errchain.Is(err, libnet.ErrEncode) || errchain.Is(err, libnet.ErrFrameTooLarge)
}

// refuse tells the peer of an error, if it waits for a reply. Where it does not, it is told what was meant for it all
// the same, unless it would take that for the reply to something else.
func (m *Mux) refuse(r *Request, err error) {
	failure, meant := told(err)
	if !meant {
		m.log(*r, err)
	}
	if r.WantsReply() || meant && !m.ordered {
		_ = m.send(r, Failure, failure)
	}
}

var outgoings = sync.Pool{New: func() any { return new(outgoing) }}

func newOutgoing(h Header, body any) *outgoing {
	out := outgoings.Get().(*outgoing)
	out.header, out.body = h, body
	out.use++
	return out
}

// recycle gives a message back that was sent, but one that a session made from a bare codec encodes later.
func (out *outgoing) recycle(err error) {
	if err == nil && out.encoded.Load() == out.use {
		out.body = nil
		outgoings.Put(out)
	}
}

// send sends what answers a request, and waits for room where the queue is full: a peer that asks for more than it
// takes is not read from. The session's own timeouts bound that.
func (m *Mux) send(r *Request, role Role, body any) error {
	out := newOutgoing(Header{Kind: r.Kind, ID: r.ID, Role: role, to: r.to}, body)
	err := r.Session.Send(out)
	if err == libnet.ErrSessionBlocked {
		err = r.Session.SendContext(inOrder{r.Session}, out)
	}
	out.recycle(err)
	return err
}
