package hostile

import (
	"context"
	"encoding/binary"
	"errors"
	"sync/atomic"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/mux"
)

// number is a body.
type number struct{ n uint64 }

func (n *number) AppendBinary(b []byte) ([]byte, error) {
	return binary.BigEndian.AppendUint64(b, n.n), nil
}

func (n *number) UnmarshalBinary(b []byte) error {
	if len(b) != 8 {
		return errors.New("a number has 8 bytes")
	}
	n.n = binary.BigEndian.Uint64(b)
	return nil
}

// A muxPayload is a payload of the user's.
type muxPayload struct{ b *bomb }

func (p muxPayload) AppendMarshal(dst []byte, body any) ([]byte, error) {
	return p.b.appended("mux.Payload.AppendMarshal", dst, func() ([]byte, error) {
		return mux.BinaryBody.AppendMarshal(dst, body)
	})
}

func (p muxPayload) Unmarshal(data []byte, into any) error {
	if does := p.b.at("mux.Payload.Unmarshal"); does != "" {
		return p.b.failure(does)
	}
	return mux.BinaryBody.Unmarshal(data, into)
}

// appended is what a site that appends to dst returns.
func (b *bomb) appended(site string, dst []byte, honest func() ([]byte, error)) ([]byte, error) {
	switch does := b.at(site); does {
	case "":
		return honest()
	case givesNil:
		return nil, nil
	case givesLess:
		return dst[:len(dst)/2], nil
	case givesMore:
		return dst, nil // as if it had appended
	default:
		return dst, b.failure(does)
	}
}

// A muxEnvelope is an envelope of the user's.
type muxEnvelope struct {
	mux.Envelope
	b    *bomb
	name string
	own  *atomic.Uint64 // what the Mux itself has made: replies, failures and calls
}

// phases are the roles of messages, as sites have them.
var phases = map[mux.Role]string{mux.Ask: "", mux.Reply: " of a reply", mux.Failure: " of a failure"}

func (e *muxEnvelope) Append(dst []byte, h mux.Header, body any) ([]byte, error) {
	out, err := e.b.appended(e.name+".Append"+phases[h.Role], dst, func() ([]byte, error) {
		return e.Envelope.Append(dst, h, body)
	})
	if err == nil && (h.Kind != muxNote || h.Role != mux.Ask) {
		e.own.Add(1)
	}
	return out, err
}

func (e *muxEnvelope) Open(kinds *mux.Kinds, msg []byte) (h mux.Header, body []byte, ok bool) {
	h, body, ok = e.Envelope.Open(kinds, msg)
	switch e.b.at(e.name + ".Open" + phases[h.Role]) {
	case givesNil:
		return mux.Header{}, nil, true
	case givesLess:
		h.ID = 1<<64 - 1
	case givesMore:
		body = make([]byte, 1<<16)
	case givesOther:
		h.Role = 77
	case givesError:
		ok = false
	}
	return h, body, ok
}

func (e *muxEnvelope) Unmarshal(body []byte, into any) error {
	site := e.name + ".Unmarshal"
	if _, ok := into.(*mux.Error); ok {
		site += " of a failure"
	}
	if does := e.b.at(site); does != "" {
		return e.b.failure(does)
	}
	return e.Envelope.Unmarshal(body, into)
}

// An orderedEnvelope is one of the user's without ids.
type orderedEnvelope struct{ muxEnvelope }

func (*orderedEnvelope) RepliesInOrder() {}

// idless makes an envelope with ids one without.
type idless struct{ mux.Envelope }

func (e idless) Append(dst []byte, h mux.Header, body any) ([]byte, error) {
	if h.ID = 0; h.Role == mux.Reply {
		h.Role = mux.Ask
	}
	return e.Envelope.Append(dst, h, body)
}

// muxMarshaler has the Mux encode what the rig sends, too.
type muxMarshaler struct{ r *rig }

func (m muxMarshaler) AppendMarshal(dst []byte, msg any) ([]byte, error) {
	if text, ok := msg.([]byte); ok {
		msg = mux.Message{Kind: muxNote, Body: &number{uint64(len(text))}}
	}
	return m.r.mux.Load().AppendMarshal(dst, msg)
}

// middleware is the user's, and makes a site of the making, and of what it makes.
func (b *bomb) middleware(site *atomic.Value) mux.Middleware {
	return func(next mux.Handler) mux.Handler {
		switch b.at(site.Load().(string)) {
		case givesNil, givesTyped:
			return nil
		}
		return func(ctx context.Context, r mux.Request) (any, error) {
			site := "mux.Handler"
			if r.Kind == muxConcurrent {
				site += " that is Concurrent"
			}
			switch does := b.at(site); does {
			case "":
				return next(ctx, r)
			case givesTyped:
				return (*number)(nil), nil
			case givesBoth:
				return &number{}, errors.New("and a reply")
			case givesMore:
				return make(chan int), nil
			case givesLess:
				return nil, (*mux.Error)(nil)
			default:
				return nil, b.failure(does)
			}
		}
	}
}

// muxHandler is a function given to Handle.
func (b *bomb) muxHandler(site string) func(context.Context, *libnet.Session, *number) (*number, error) {
	return func(_ context.Context, _ *libnet.Session, n *number) (*number, error) {
		switch does := b.at(site); does {
		case "":
			return &number{2 * n.n}, nil
		case givesTyped:
			return nil, (*mux.Error)(nil)
		case givesBoth:
			return n, errors.New("and a reply")
		default:
			return nil, b.failure(does)
		}
	}
}

// A muxLink is a Link of the user's.
type muxLink struct{ r *rig }

func (l muxLink) Ready(context.Context) (*libnet.Session, error) {
	switch does := l.r.b.at("mux.Link.Ready"); does {
	case "":
		return l.r.victim.Load(), nil
	case givesBoth:
		return l.r.victim.Load(), errors.New("and a session")
	default:
		return nil, l.r.b.failure(does)
	}
}

// A muxCarrier is a Carrier of the user's.
type muxCarrier struct {
	r  *rig
	to *mux.Mux
}

func (c muxCarrier) Carry(ctx context.Context, request []byte) ([]byte, error) {
	switch does := c.r.b.at("mux.Carrier.Carry"); does {
	case "":
		return c.to.Answer(ctx, request)
	case givesBoth:
		reply, _ := c.to.Answer(ctx, request)
		return reply, errors.New("and a reply")
	case givesOther:
		return []byte{0xff}, nil
	default:
		return nil, c.r.b.failure(does)
	}
}

// callMux calls the Mux, and with it the peer, from within user code.
func callMux(ctx context.Context, m *mux.Mux, s *libnet.Session, b behaviour) {
	switch b {
	case asks:
		_ = m.Stats()
		_, _ = mux.Call[number, number](ctx, m.Peer(s), muxDouble, &number{1})
	case sends:
		_, _ = mux.Call[number, number](ctx, m.Peer(s), muxDouble, nil)
	}
}
