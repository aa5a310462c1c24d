package mux_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/mux"
)

// direct carries requests to a Mux as they are.
type direct struct{ to *mux.Mux }

func (d direct) Carry(ctx context.Context, request []byte) ([]byte, error) {
	return d.to.Answer(ctx, request)
}

var (
	refused     = mux.Number(10)
	broken      = mux.Number(11)
	panicking   = mux.Number(12)
	late        = mux.Number(13)
	unsaid      = mux.Number(14)
	told        = mux.Number(15)
	errNoteSeen = errors.New("the handler has seen it")
)

// answering is a Mux with handlers that behave in all ways.
func answering(t *testing.T, e mux.Envelope, l *logs) *mux.Mux {
	m := mux.New(e)
	m.Logger = l.logger()
	mux.Handle(m, double, func(ctx context.Context, s *libnet.Session, n *num) (*num, error) {
		if s != nil {
			t.Errorf("the handler has session %d", s.ID())
		}
		return doubled(ctx, s, n)
	})
	for k, fails := range map[mux.Kind]func(context.Context) error{
		refused:   func(context.Context) error { return &mux.Error{Code: 7, Text: "not you"} },
		broken:    func(context.Context) error { return errNoteSeen },
		panicking: func(context.Context) error { panic(errNoteSeen) },
		late:      func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		unsaid:    func(context.Context) error { return mux.ErrNoReply },
	} {
		mux.Handle(m, k, func(ctx context.Context, _ *libnet.Session, _ *num) (*num, error) { return nil, fails(ctx) })
	}
	mux.On(m, told, func(context.Context, *libnet.Session, *num) error { return nil })
	return m
}

func TestWhatIsCarriedIsAnsweredAsOnASession(t *testing.T) {
	for name, e := range map[string]mux.Envelope{"binary": mux.Binary(mux.BinaryBody), "JSON": mux.JSON} {
		t.Run(name, func(t *testing.T) {
			var l logs
			m := answering(t, e, &l)
			peer := mux.New(e).Over(direct{m})
			n, err := mux.Call[num, num](within(t, patience), peer, double, &num{21})
			if err != nil || n.N != 42 {
				t.Errorf("a call: %v, %v", n, err)
			}
			if _, err := mux.Call[num, num](within(t, patience), peer, told, &num{1}); err != nil && name == "JSON" {
				t.Errorf("a call to what wants no reply: %v", err)
			}
			for k, code := range map[mux.Kind]uint32{
				refused: 7, broken: mux.CodeInternal, panicking: mux.CodeInternal, mux.Number(99): mux.CodeUnknownKind,
			} {
				var told *mux.Error
				if _, err := mux.Call[num, num](within(t, patience), peer, k, &num{1}); !errors.As(err, &told) || told.Code != code {
					t.Errorf("kind %s: %v, want code %d", k, err, code)
				}
			}
			if _, err := mux.Call[num, num](within(t, patience), peer, unsaid, &num{1}); !errors.Is(err, mux.ErrNoReply) {
				t.Errorf("a call that is not answered: %v", err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 1)
			defer cancel()
			if _, err := mux.Call[num, num](ctx, peer, late, &num{1}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a call that comes too late: %v", err)
			}
			if text := l.text(); strings.Count(text, errNoteSeen.Error()) < 2 || !strings.Contains(text, "carrier_test.go") {
				t.Errorf("the log has not both failures, and the stack of one: %s", text)
			}
		})
	}
}

func TestAHandlerWhoseTimeHasPassedIsAnsweredWithThat(t *testing.T) {
	var l logs
	m := answering(t, mux.JSON, &l)
	ctx, cancel := context.WithTimeout(context.Background(), 1)
	defer cancel()
	reply, err := m.Answer(ctx, []byte(`{"type":"13","id":1,"data":{}}`))
	if err != nil || !strings.Contains(string(reply), `"code":504`) {
		t.Errorf("Answer: %s, %v", reply, err)
	}
}

// An oddError is one of which a method panics.
type oddError struct{ method string }

func (e oddError) Error() string { return e.panic("Error") }
func (e oddError) Is(error) bool { return e.panic("Is") == "" }
func (e oddError) As(any) bool   { return e.panic("As") == "" }
func (e oddError) Unwrap() error { e.panic("Unwrap"); return nil }

func (e oddError) panic(method string) string {
	if e.method == method {
		panic(e)
	}
	return "odd"
}

func TestAnErrorThatCannotBeAskedIsCarriedAsAnInternalOne(t *testing.T) {
	for _, method := range []string{"Error", "Is", "As", "Unwrap"} {
		far := newMux()
		mux.Handle(far, double, func(context.Context, *libnet.Session, *num) (*num, error) { return nil, oddError{method} })
		_, err := mux.Call[num, num](t.Context(), newMux().Over(direct{far}), double, &num{1})
		var failure *mux.Error
		if !errors.As(err, &failure) || failure.Code != mux.CodeInternal {
			t.Errorf("whose %s panics: %v", method, err)
		}
	}
}

func TestARequestOrReplyThatCannotBeReadIsMalformed(t *testing.T) {
	m := newMux()
	mux.Handle(m, double, doubled)
	for _, request := range [][]byte{nil, {0xff}, header(1, 1, mux.Reply), header(1, 1, mux.Failure)} {
		if reply, err := m.Answer(within(t, patience), request); err != mux.ErrMalformed || reply != nil {
			t.Errorf("Answer of %q: %q, %v", request, reply, err)
		}
	}
	if reply, err := m.Answer(within(t, patience), append(header(1, 1, mux.Ask), 1)); err != nil || !strings.Contains(string(reply), "decoded") {
		t.Errorf("Answer of a request with another body: %q, %v", reply, err)
	}
	for _, reply := range [][]byte{nil, {0xff}, header(1, 1, mux.Ask)} {
		peer := m.Over(carrying(func(context.Context, []byte) ([]byte, error) { return reply, nil }))
		if _, err := mux.Call[num, num](within(t, patience), peer, double, &num{1}); err != mux.ErrMalformed {
			t.Errorf("a call with the reply %q: %v", reply, err)
		}
	}
}

type carrying func(context.Context, []byte) ([]byte, error)

func (c carrying) Carry(ctx context.Context, request []byte) ([]byte, error) { return c(ctx, request) }

func TestWhatACarrierFailsWithIsTheCallsError(t *testing.T) {
	m := newMux()
	m.CallTimeout = 1
	away := errors.New("nobody is there")
	peer := m.Over(carrying(func(context.Context, []byte) ([]byte, error) { return nil, away }))
	if _, err := mux.Call[num, num](within(t, patience), peer, double, &num{1}); err != away {
		t.Errorf("a call: %v", err)
	}
	peer = m.Over(carrying(func(ctx context.Context, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() }))
	if _, err := mux.Call[num, num](context.Background(), peer, double, &num{1}); err != context.DeadlineExceeded {
		t.Errorf("a call that CallTimeout bounds: %v", err)
	}
	if _, err := mux.Call[num, num](within(t, patience), peer, "no number", &num{1}); !errors.Is(err, libnet.ErrEncode) {
		t.Errorf("a call of a kind that the envelope cannot carry: %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("Over without a Carrier does not panic")
		}
	}()
	m.Over(nil)
}

// With an ordered envelope, a reply is a message of the same kind.
func TestAnOrderedEnvelopeIsCarried(t *testing.T) {
	e := mux.Proto(9)
	m := mux.New(e)
	kind := mux.Number(2)
	mux.Handle(m, kind, func(_ context.Context, _ *libnet.Session, n *wrapperspb.UInt32Value) (*wrapperspb.UInt32Value, error) {
		return n, nil
	})
	fails := mux.Number(3)
	mux.Handle(m, fails, func(context.Context, *libnet.Session, *wrapperspb.UInt32Value) (*wrapperspb.UInt32Value, error) {
		return nil, &mux.Error{Code: 5, Text: "no"}
	})
	peer := mux.New(e).Over(direct{m})
	n, err := mux.Call[wrapperspb.UInt32Value, wrapperspb.UInt32Value](within(t, patience), peer, kind, wrapperspb.UInt32(2))
	if err != nil || n.GetValue() != 2 {
		t.Errorf("a call: %v, %v", n, err)
	}
	_, err = mux.Call[wrapperspb.UInt32Value, wrapperspb.UInt32Value](within(t, patience), peer, fails, nil)
	var told *mux.Error
	if !errors.As(err, &told) || told.Code != 5 {
		t.Errorf("a call that fails: %v", err)
	}
}
