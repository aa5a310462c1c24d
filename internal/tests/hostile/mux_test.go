package hostile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/mux"
	"github.com/libnet-go/libnet/ws"
)

var muxModes = modesNamed("Serve over TCP", "ServeMessages over TCP", "ServeMessages over WebSocket")

// The kinds of messages of the server's Mux.
var (
	muxDouble     = mux.Number(1)
	muxNote       = mux.Number(2) // what the rig sends, and what On has
	muxConcurrent = mux.Number(3)
	muxFails      = mux.Number(4)
	muxExtra      = mux.Number(5) // is registered with the user's middleware
)

// muxSites are those of package mux.
var muxSites = append(append(envelopeSites("mux.Envelope"), envelopeSites("mux.OrderedEnvelope")...), []site{
	{name: "mux.Payload.AppendMarshal", does: with(givesNil, givesLess, givesMore)},
	{name: "mux.Payload.Unmarshal", does: with(givesNil)},
	{name: "mux.Handle", does: with(givesNil, givesTyped, givesBoth)},
	{name: "mux.Handle that is Concurrent", does: with(givesNil, givesTyped, givesBoth)},
	{name: "mux.On", does: with(givesTyped)},
	{name: "mux.Handler", does: with(givesNil, givesTyped, givesBoth, givesLess, givesMore)},
	{name: "mux.Handler that is Concurrent", does: with(givesNil, givesTyped, givesBoth, givesLess, givesMore)},
	{name: "mux.New", does: []behaviour{givesNil}},
	{name: "mux.With", does: []behaviour{givesNil}},
	{name: "mux.Middleware", does: []behaviour{givesNil}},
	{name: "mux.Mux.OnError"},
	{name: "mux.Link.Ready", does: with(givesNil, givesBoth)},
	{name: "mux.Carrier.Carry", does: with(givesNil, givesBoth, givesOther)},
	{name: "slog.Handler.Enabled", source: "mux.Mux.Logger"},
	{name: "slog.Handler.Handle", source: "mux.Mux.Logger", does: failures},
	{name: "error.Error", source: "mux.Handle"},
	{name: "error.Is", source: "mux.Handle"},
	{name: "error.As", source: "mux.Handle"},
	{name: "error.Unwrap", source: "mux.Handle", does: []behaviour{givesTyped, givesItself}},
	{name: "error.Error", source: "mux.Handle that is Concurrent"},
	{name: "error.As", source: "mux.Handle that is Concurrent"},
	{name: "error.Unwrap", source: "mux.Handle that is Concurrent", does: []behaviour{givesTyped, givesItself}},
	{name: "error.Error", source: "mux.Envelope.Unmarshal"},
	{name: "error.Is", source: "mux.Envelope.Append of a reply"},
	{name: "error.Unwrap", source: "mux.Envelope.Append of a reply", does: []behaviour{givesTyped, givesItself}},
}...)

// envelopeSites are the methods of an envelope, by what they are called for.
func envelopeSites(of string) []site {
	nonsense := []behaviour{givesNil, givesLess, givesMore, givesOther, givesError}
	sites := []site{
		{name: of + ".Append", does: with(givesNil, givesLess, givesMore)},
		{name: of + ".Append of a reply", does: with(givesNil, givesLess, givesMore)},
		{name: of + ".Append of a failure", does: with(givesNil, givesLess, givesMore)},
		{name: of + ".Open", does: nonsense},
		{name: of + ".Open of a failure", does: nonsense},
		{name: of + ".Unmarshal", does: with(givesNil)},
		{name: of + ".Unmarshal of a failure", does: with(givesNil)},
	}
	if of == "mux.Envelope" {
		sites = append(sites, site{name: of + ".Open of a reply", does: nonsense})
	}
	return sites
}

// TestHostileUserCodeOfMux is the same for package mux, in each way in which a server has messages handled.
func TestHostileUserCodeOfMux(t *testing.T) {
	for i := range muxSites {
		s := &muxSites[i]
		name := s.name
		if s.source != "" {
			name += " of " + s.source
		}
		for row, does := range append(append([]behaviour(nil), anywhere...), s.does...) {
			for _, m := range played(i+row, muxModes) {
				t.Run(fmt.Sprintf("%s/%s/%s", name, does, m.name), func(t *testing.T) {
					t.Parallel()
					playMux(t, s, does, m)
				})
			}
		}
	}
}

// A muxRig is a rig whose server has a Mux that is the user's, and whose clients have one that is not.
type muxRig struct {
	*rig
	clients *mux.Mux
	ordered bool
	own     atomic.Uint64
	got     atomic.Uint64 // replies that clients have received, and failures
}

func playMux(t *testing.T, s *site, does behaviour, m mode) {
	r := newMuxRig(t, s, does, m)
	witness, err := r.dialMux()
	if err != nil {
		t.Log(err) // as a server answers that middleware has shut down
	} else {
		defer witness.Close()
		if err := r.callServer(context.Background(), witness, muxDouble); err != nil {
			t.Fatal("before: ", err)
		}
	}
	if !isRegistration(s) {
		r.b.armed.Store(true)
	}
	r.leadMux(t)
	r.wantCalled(t)
	r.wantMalformed(t)
	if does != stops {
		r.wantMuxServed(t, witness)
	}
	r.wantStats(t)
	_ = r.mux.Load().Stats()
	r.wantShutdown(t)
	close(r.b.freed)
	r.end()
	within(t, "the rig's own goroutines", inTime, r.conns.Wait)
	if !t.Failed() {
		r.account()
		r.wantCounters(t)
	}
}

// account adds to the rig's messages those of the Mux's own. What was encoded as a session ended may not have been
// sent; where none ends, all was.
func (r *muxRig) account() {
	sure := r.own.Load()
	switch r.b.does {
	case blocks, asks, sends, broadcasts:
	default:
		sure = r.got.Load()
	}
	r.sent.Add(sure)
	r.unsure.Add(r.own.Load() - sure)
}

// isRegistration holds for what is called while handlers are registered.
func isRegistration(s *site) bool {
	return s.name == "mux.New" || s.name == "mux.With" || s.name == "mux.Middleware"
}

func newMuxRig(t *testing.T, s *site, does behaviour, m mode) *muxRig {
	r := &muxRig{rig: prepareRig(t, m, s, does), ordered: strings.HasPrefix(s.of(), "mux.OrderedEnvelope")}
	if r.b.source == "mux.Mux.Logger" {
		r.b.source = ""
	}
	r.srv = libnet.NewServer(r.listener, testkit.Spoken(m.transport, codec.New(codec.Uint32BE, muxMarshaler{r.rig})), m.queue)
	r.srv.Logger = slog.New(slog.DiscardHandler)
	r.srv.Linger, r.srv.WriteTimeout, r.srv.OnSession = 200*time.Millisecond, writeTimeout, r.admit
	r.clients = mux.New(r.envelope(new(bomb), new(atomic.Uint64)))
	mux.Handle(r.clients, muxDouble, new(bomb).muxHandler(""))
	mux.On(r.clients, muxNote, func(context.Context, *libnet.Session, *number) error { return nil })
	mux.Handle(r.clients, muxFails, refuse)
	r.b.armed.Store(isRegistration(s))
	own := r.register(t)
	r.own.Store(0) // register asks the envelope about kinds
	r.mux.Store(own)
	r.serveMux(own)
	return r
}

func (r *muxRig) serveMux(m *mux.Mux) {
	r.end = func() {}
	run := func() { _ = r.srv.ServeMessages(m) }
	if r.mode.serve == "Serve" {
		run = func() { _ = r.srv.Serve(m) }
	}
	r.conns.Go(run)
}

func (r *muxRig) envelope(b *bomb, own *atomic.Uint64) mux.Envelope {
	e := muxEnvelope{mux.Binary(muxPayload{b}), b, "mux.Envelope", own}
	if r.ordered {
		e.name, e.Envelope = "mux.OrderedEnvelope", idless{e.Envelope}
		return &orderedEnvelope{e}
	}
	return &e
}

// register makes the server's Mux, the user's middleware with it. What that does not let be made is made without.
func (r *muxRig) register(t *testing.T) *mux.Mux {
	var site atomic.Value
	site.Store("mux.New")
	around := r.b.middleware(&site)
	made := make(chan *mux.Mux, 1)
	r.try(func() { made <- mux.New(r.envelope(r.b, &r.own), around) })
	r.wantCalledFor(t, "mux.New")
	var m *mux.Mux
	select {
	case m = <-made:
	default:
		m = mux.New(r.envelope(r.b, &r.own))
	}
	m.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	if r.b.site == "slog.Handler.Enabled" || r.b.site == "slog.Handler.Handle" {
		m.Logger = slog.New(logs{r.b})
	}
	m.CallTimeout = inTime
	m.OnError = func(*libnet.Session, mux.Kind, *mux.Error) { r.b.at("mux.Mux.OnError") }
	site.Store("")
	mux.Handle(m, muxDouble, r.b.muxHandler("mux.Handle"))
	mux.On(m, muxNote, func(context.Context, *libnet.Session, *number) error {
		does := r.b.at("mux.On")
		if does == givesTyped {
			return (*mux.Error)(nil)
		}
		return r.b.failure(does)
	})
	mux.Handle(m, muxFails, func(ctx context.Context, s *libnet.Session, n *number) (*number, error) {
		if n.n == 0 {
			return nil, errors.New("for the log")
		}
		return refuse(ctx, s, n)
	})
	if !r.ordered {
		mux.Handle(m, muxConcurrent, r.askBack(m), mux.Concurrent(2))
	}
	site.Store("mux.Middleware")
	r.try(func() { mux.Handle(m, muxExtra, r.b.muxHandler("")) })
	site.Store("mux.With")
	r.try(func() { mux.Handle(m, muxExtra+"0", r.b.muxHandler(""), mux.With(around)) })
	return m
}

func refuse(context.Context, *libnet.Session, *number) (*number, error) {
	return nil, &mux.Error{Code: 7, Text: "no"}
}

// askBack is a handler that calls its caller before it does what it does.
func (r *muxRig) askBack(m *mux.Mux) func(context.Context, *libnet.Session, *number) (*number, error) {
	then := r.b.muxHandler("mux.Handle that is Concurrent")
	return func(ctx context.Context, s *libnet.Session, n *number) (*number, error) {
		if _, err := mux.Call[number, number](ctx, m.Peer(s), muxDouble, n); err != nil {
			return nil, err
		}
		return then(ctx, s, n)
	}
}

// try calls f on a goroutine that user code may end, or keep: then it goes on.
func (r *muxRig) try(f func()) {
	done := make(chan struct{})
	r.conns.Go(func() {
		defer close(done)
		r.apart(f)
	})
	select {
	case <-done:
	case <-time.After(patience):
	}
}

func (r *muxRig) wantCalledFor(t *testing.T, site string) {
	if r.b.site == site {
		r.wantCalled(t)
	}
}

func (r *muxRig) dialMux() (*libnet.Session, error) {
	ctx, cancel := context.WithTimeout(context.Background(), inTime)
	defer cancel()
	d := libnet.Dialer{Protocol: codec.New(codec.Uint32BE, r.clients)}
	d.SendQueue = 8
	d.Logger = slog.New(slog.DiscardHandler)
	addr := r.listener.Addr().String()
	dial := func() (*libnet.Session, error) { return d.Dial(ctx, "tcp", addr) }
	if overWeb(r.mode) {
		dial = func() (*libnet.Session, error) { return ws.Dial(ctx, "ws://"+addr, &d, nil) }
	}
	s, err := dial()
	if err == nil {
		r.clients.Start(s)
	}
	return s, err
}

// callServer calls as a client, whose answer is counted.
func (r *muxRig) callServer(ctx context.Context, s *libnet.Session, k mux.Kind) error {
	ctx, cancel := context.WithTimeout(ctx, inTime)
	defer cancel()
	_, err := mux.Call[number, number](ctx, r.clients.Peer(s), k, &number{1})
	var refused *mux.Error
	if err == nil || errors.As(err, &refused) {
		r.got.Add(1)
	}
	return err
}

// leadMux takes a client through all that a Mux calls the user for.
func (r *muxRig) leadMux(t *testing.T) {
	victim, err := r.dialMux()
	if err != nil {
		return
	}
	defer victim.Close()
	ctx, cancel := r.victimsContext()
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = victim.Close() })()
	_ = r.callServer(ctx, victim, muxDouble)
	_ = victim.Send(mux.Message{Kind: muxNote, Body: &number{1}})
	_ = victim.Send(mux.Message{Kind: muxFails, Body: &number{0}})
	about, _ := r.envelope(new(bomb), new(atomic.Uint64)).Append(nil, mux.Header{Kind: muxNote, Role: mux.Failure}, &mux.Error{Code: 7})
	_ = victim.Send(about)
	_ = r.callServer(ctx, victim, muxFails)
	if !r.ordered {
		_ = r.callServer(ctx, victim, muxConcurrent)
	}
	m := r.mux.Load()
	for _, k := range []mux.Kind{muxDouble, muxFails} {
		r.try(func() { _, _ = mux.Call[number, number](ctx, m.Peer(r.victim.Load()), k, &number{1}) })
	}
	var throughErr error
	r.try(func() {
		_, throughErr = mux.Call[number, number](ctx, m.Through(muxLink{r.rig}), muxDouble, &number{1})
	})
	var carriedErr error
	r.try(func() {
		far := mux.New(mux.JSON) // whose messages are none of the session's, which are counted
		mux.Handle(far, muxDouble, func(_ context.Context, _ *libnet.Session, n *number) (*number, error) { return n, nil })
		_, carriedErr = mux.Call[number, number](ctx, far.Over(muxCarrier{r.rig, far}), muxDouble, &number{1})
	})
	if r.b.site == "mux.Carrier.Carry" && (r.b.does == givesNil || r.b.does == givesOther) && carriedErr != mux.ErrMalformed {
		t.Errorf("a call whose Carrier brings nonsense: %v", carriedErr)
	}
	if r.b.site == "mux.Link.Ready" && r.b.does == givesNil && throughErr != libnet.ErrSessionClosed {
		t.Errorf("a call through a Link that has no session, and no error: %v", throughErr)
	}
}

// wantMalformed wants that the victim ended as one whose envelope cannot be read, where that is what the envelope said.
func (r *muxRig) wantMalformed(t *testing.T) {
	t.Helper()
	isOpen := strings.Contains(r.b.site, ".Open")
	if !isOpen || r.b.does != givesOther && r.b.does != givesError {
		return
	}
	if err := r.victim.Load().Err(); err != mux.ErrMalformed {
		t.Errorf("the session ended with %v", err)
	}
}

// wantMuxServed asks for answers on another session, and on a new one.
func (r *muxRig) wantMuxServed(t *testing.T, witness *libnet.Session) {
	t.Helper()
	fresh, err := r.dialMux()
	if err != nil {
		t.Fatal("a new session is not served: ", err)
	}
	defer fresh.Close()
	for _, s := range []*libnet.Session{witness, fresh} {
		if err := r.callServer(context.Background(), s, muxDouble); err != nil {
			t.Error("another session is not served: ", err)
		}
	}
}
