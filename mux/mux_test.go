package mux_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/mux"
	"github.com/libnet-go/libnet/reconnect"
)

// panics returns what f panics with.
func panics(t *testing.T, f func()) (text string) {
	t.Helper()
	defer func() {
		value := recover()
		if value == nil {
			t.Error("no panic")
		}
		text = fmt.Sprint(value)
	}()
	f()
	return ""
}

func TestWhatIsRegisteredWronglyPanicsAtOnce(t *testing.T) {
	for _, c := range []struct {
		name, says string
		do         func(m *mux.Mux)
	}{
		{"twice", "twice", func(m *mux.Mux) { mux.Handle(m, double, doubled); mux.Handle(m, double, doubled) }},
		{"both ways", "twice", func(m *mux.Mux) {
			mux.Handle(m, double, doubled)
			mux.On(m, double, func(context.Context, *libnet.Session, *num) error { return nil })
		}},
		{"no number", `kind "say" is none of the envelope's`, func(m *mux.Mux) { mux.Handle(m, "say", doubled) }},
		{"no canonical number", "none of the envelope's", func(m *mux.Mux) { mux.Handle(m, "01", doubled) }},
		{"no name", "none of the envelope's", func(m *mux.Mux) { mux.Handle(m, "", doubled) }},
		{"late", "after serving began", func(m *mux.Mux) { pair(t, m, newMux()); mux.Handle(m, double, doubled) }},
		{"nil middleware", "nil Handler", func(m *mux.Mux) {
			mux.Handle(m, double, doubled, mux.With(func(mux.Handler) mux.Handler { return nil }))
		}},
		{"concurrent with an order", "Concurrent", func(*mux.Mux) {
			mux.Handle(mux.New(mux.Proto(90001)), double, doubled, mux.Concurrent(2))
		}},
		{"no envelope", "without an envelope", func(*mux.Mux) { mux.New(nil) }},
		{"a nil pointer as an envelope", "without an envelope", func(*mux.Mux) { mux.New((*ownEnvelope)(nil)) }},
		{"no payload", "without a Payload", func(*mux.Mux) { mux.Binary(nil) }},
		{"a nil pointer as a payload", "without a Payload", func(*mux.Mux) { mux.Binary((*ownPayload)(nil)) }},
		{"no carrier", "without a Carrier", func(m *mux.Mux) { m.Over(nil) }},
		{"a nil pointer as a carrier", "without a Carrier", func(m *mux.Mux) { m.Over((*direct)(nil)) }},
		{"no error kind", "error kind", func(*mux.Mux) { mux.Proto(0) }},
		{"no function", "nil function", func(m *mux.Mux) {
			mux.Handle[num, num](m, double, nil)
		}},
		{"no function without a reply", "nil function", func(m *mux.Mux) { mux.On[num](m, double, nil) }},
		{"a zero Mux", "New makes one", func(*mux.Mux) { mux.Handle(new(mux.Mux), double, doubled) }},
		{"a nil Mux", "New makes one", func(*mux.Mux) { mux.Handle(nil, double, doubled) }},
		{"a zero Peer", "zero Peer", func(*mux.Mux) { _, _ = mux.Call[num, num](context.Background(), mux.Peer{}, double, &num{1}) }},
		{"no context", "nil context", func(m *mux.Mux) {
			var nobody context.Context
			p, _ := pair(t, m, newMux())
			_, _ = mux.Call[num, num](nobody, p, double, &num{1})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if text := panics(t, func() { c.do(newMux()) }); !strings.Contains(text, c.says) {
				t.Errorf("%q does not say %q", text, c.says)
			}
		})
	}
}

func TestMiddlewareRunsFromTheOutsideInAndMayAnswerItself(t *testing.T) {
	var trace []string
	note := func(name string) mux.Middleware {
		return func(next mux.Handler) mux.Handler {
			return func(ctx context.Context, r mux.Request) (any, error) {
				trace = append(trace, name)
				if name == "refuses" {
					return nil, &mux.Error{Code: 403, Text: "not allowed"}
				}
				return next(ctx, r)
			}
		}
	}
	m, client := mux.New(mux.Binary(mux.BinaryBody), note("first"), note("second")), newMux()
	mux.Handle(m, double, doubled, mux.With(note("own")))
	mux.Handle(m, other, doubled, mux.With(note("refuses"), note("never")))
	peer, _ := pair(t, client, m)
	ctx := within(t, patience)
	got, err := mux.Call[num, num](ctx, peer, double, &num{21})
	if err != nil || got.N != 42 {
		t.Fatal(got, err)
	}
	var refused *mux.Error
	if _, err := mux.Call[num, num](ctx, peer, other, &num{1}); !errors.As(err, &refused) || refused.Code != 403 {
		t.Fatal(err)
	}
	want := []string{"first", "second", "own", "first", "second", "refuses"}
	if !slices.Equal(trace, want) {
		t.Errorf("%q, want %q", trace, want)
	}
}

func TestKindsOfNumbersAreTheirDigits(t *testing.T) {
	for _, n := range []uint64{0, 1, 10, 20001, 1<<64 - 1} {
		if got, ok := mux.Number(n).Number(); !ok || got != n {
			t.Errorf("%d became %d, %v", n, got, ok)
		}
	}
	for _, k := range []mux.Kind{"", "say", "01", "-1", "+1", "1.0", " 1", "18446744073709551616", "99999999999999999999"} {
		if n, ok := k.Number(); ok {
			t.Errorf("%q is %d", k, n)
		}
	}
}

// An ownEnvelope and an ownPayload are pointers to something, where they are not nil.
type (
	ownEnvelope struct{ mux.Envelope }
	ownPayload  struct{ mux.Payload }
)

func TestALinkThatIsANilPointerIsNone(t *testing.T) {
	var c *reconnect.Client
	if err := <-call(t.Context(), newMux().Through(c), 1); err != libnet.ErrSessionClosed {
		t.Errorf("a call: %v", err)
	}
}
