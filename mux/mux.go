package mux

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/lock"
	"github.com/libnet-go/libnet/internal/usercode"
)

// A Mux routes the messages of sessions to handlers and matches replies to calls. It is the [codec.Marshaler] of its
// sessions' protocol, the [libnet.MessageHandler] and [libnet.Handler] of a server, and the Handler of a
// reconnect.Client. One serves any number of servers and clients. Set its fields and register handlers before it is
// given a message; its methods may be called by any goroutine.
type Mux struct {
	// MaxCalls is how many calls may be pending on a session; default 1,024. Negative: no bound but memory's.
	MaxCalls int

	// CallTimeout bounds a Call whose context has no deadline; default 30 s. Negative: not at all.
	CallTimeout time.Duration

	// Logger is told of the errors of handlers that the peer is not told, as being none that is or wraps an [Error], of
	// replies that cannot be sent, and of panics in handlers that are [Concurrent]: ten lines a second. Default
	// slog.Default().
	Logger *slog.Logger

	// OnError is called with each error that a peer sends about a message which asked for no reply, and the kind of
	// that; with an [OrderedEnvelope], whose errors do not say what they are about, with each that comes while no call
	// is pending, and an empty kind. It runs as a handler does that is not [Concurrent]. Without it such an error
	// counts as Stats.Unasked.
	OnError func(s *libnet.Session, k Kind, err *Error)

	// Immutable after New.
	envelope Envelope
	ordered  bool
	around   []Middleware
	unknown  *route

	kinds  atomic.Pointer[Kinds] // nil until a message comes, or a session is served
	calls  sync.Map              // *calls by *libnet.Session, of those that need it
	counts counters
	lines  logLimit
	logger usercode.Log

	mu lock.Mutex[registryLock]
	// mu guards the following.
	routes map[Kind]*route
}

// A route is a kind's handler.
type route struct {
	mux       *Mux
	kind      Kind
	number    uint64 // of the kind, where it is one of Number's
	hasNumber bool
	replies   bool // it was registered with Handle
	places    int  // how many of a session's messages it may handle at a time; 0: in order with all others
	handler   Handler
}

// New returns a Mux without handlers. The middleware is put around those of all kinds, and around what answers unknown
// ones; the first is the outermost. It panics without an envelope.
func New(e Envelope, around ...Middleware) *Mux {
	if usercode.IsMissing(e) {
		panic("libnet: mux: New without an envelope")
	}
	_, ordered := e.(OrderedEnvelope)
	m := &Mux{envelope: e, ordered: ordered, around: around, routes: make(map[Kind]*route)}
	m.unknown = &route{mux: m, replies: true, handler: wrap(m.refuseUnknown, around)}
	return m
}

// register enters a route, whose handler is wrapped with no lock held: middleware is the user's.
func (m *Mux) register(r *route, options []Option) {
	if m == nil || m.routes == nil {
		panic("libnet: mux: a zero or nil Mux: New makes one")
	}
	r.mux = m
	r.number, r.hasNumber = r.kind.Number()
	if _, err := m.envelope.Append(nil, Header{Kind: r.kind}, nil); err != nil || r.kind == "" {
		panic(fmt.Sprintf("libnet: mux: kind %q is none of the envelope's: %v", r.kind, err))
	}
	var o registration
	for _, set := range options {
		set(&o)
	}
	if r.places = o.places; r.places > 0 && m.ordered {
		panic(fmt.Sprintf("libnet: mux: kind %q is Concurrent, but its replies have to keep their order", r.kind))
	}
	r.handler = wrap(wrap(r.handler, o.around), m.around)
	m.enter(r)
}

func wrap(h Handler, around []Middleware) Handler {
	for i := len(around) - 1; i >= 0; i-- {
		if h = around[i](h); h == nil {
			panic("libnet: mux: middleware returned a nil Handler")
		}
	}
	return h
}

func (m *Mux) enter(r *route) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.kinds.Load() != nil:
		panic(fmt.Sprintf("libnet: mux: kind %q is registered after serving began", r.kind))
	case m.routes[r.kind] != nil:
		panic(fmt.Sprintf("libnet: mux: kind %q is registered twice", r.kind))
	}
	m.routes[r.kind] = r
}

// known returns the kinds. From the first time on none can be registered.
func (m *Mux) known() *Kinds {
	if k := m.kinds.Load(); k != nil {
		return k
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if k := m.kinds.Load(); k != nil {
		return k
	}
	k := &Kinds{named: m.routes, numbered: make(map[uint64]*route)}
	for _, r := range m.routes {
		if r.hasNumber {
			k.numbered[r.number] = r
		}
	}
	m.kinds.Store(k)
	return k
}

// Stats is a snapshot of a Mux's counters.
type Stats struct {
	Unknown   uint64 // messages of a kind without a handler
	BadBodies uint64 // messages whose body could not be decoded
	Late      uint64 // replies to calls that had ended, dropped
	Unasked   uint64 // replies to what was never asked, dropped; errors about messages that asked for no reply among them
}

type counters struct{ unknown, badBodies, late, unasked atomic.Uint64 }

// Stats returns what was counted since New, over all sessions.
func (m *Mux) Stats() Stats {
	return Stats{m.counts.unknown.Load(), m.counts.badBodies.Load(), m.counts.late.Load(), m.counts.unasked.Load()}
}

var (
	_ libnet.Handler        = (*Mux)(nil)
	_ libnet.MessageHandler = (*Mux)(nil)
)
