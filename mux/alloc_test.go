package mux_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/mux"
)

// discarding returns a session that writes each message at once, to a peer that takes whatever it is sent.
func discarding(t testing.TB, p libnet.Protocol) *libnet.Session {
	near, far := testkit.ConnectTCP(t)
	go testkit.Drain(far)
	return testkit.Adopt(t, testkit.NewServer(t, p, 0), near)
}

// wide is a body of 32 bytes. A frame of 14 would leave no room for what codec.New puts before a user's marshaler's
// bytes in a buffer of 16, which is then made anew for each message.
type wide struct{ N, Padding [16]byte }

func (w *wide) AppendBinary(b []byte) ([]byte, error) {
	return append(append(b, w.N[:]...), w.Padding[:]...), nil
}

func (w *wide) UnmarshalBinary(b []byte) error {
	copy(w.N[:], b)
	return nil
}

var answer, webAnswer = new(wide), &num{7}

func answers(context.Context, *libnet.Session, *wide) (*wide, error) { return answer, nil }

func webAnswers(context.Context, *libnet.Session, *num) (*num, error) { return webAnswer, nil }

func hears(context.Context, *libnet.Session, *wide) error { return nil }

func TestAMessageCostsNoAllocationBeyondItsDecodingAndEncoding(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector allocates")
	}
	compact, _ := answer.AppendBinary(header(1, 5, mux.Ask))
	web := []byte(`{"type":"1","id":5,"data":{"N":9}}`)
	webCost := testing.AllocsPerRun(1000, func() {
		_ = json.Unmarshal([]byte(`{"N":9}`), new(num))
		_, _ = codec.JSON.AppendMarshal(make([]byte, 0, 128), webAnswer)
	})
	fishes, _ := (&fish{Cmd: 1, Text: "x"}).Marshal()
	for _, c := range []struct {
		name     string
		envelope mux.Envelope
		register func(m *mux.Mux)
		msg      []byte
		most     float64
	}{
		{"compact", mux.Binary(mux.BinaryBody), func(m *mux.Mux) { mux.Handle(m, double, answers) }, compact, 1},
		{"compact, through middleware", mux.Binary(mux.BinaryBody), func(m *mux.Mux) {
			mux.Handle(m, double, answers, mux.With(func(next mux.Handler) mux.Handler {
				return func(ctx context.Context, r mux.Request) (any, error) { return next(ctx, r) }
			}))
		}, compact, 1},
		{"compact, without a reply", mux.Binary(mux.BinaryBody), func(m *mux.Mux) { mux.On(m, double, hears) }, append(header(1, 0, mux.Ask), compact[2:]...), 1},
		{"JSON", mux.JSON, func(m *mux.Mux) { mux.Handle(m, double, webAnswers) }, web, webCost},
		{"protobuf", mux.Proto(90001), func(m *mux.Mux) {
			mux.On(m, double, func(context.Context, *libnet.Session, *silent) error { return nil })
		}, fishes, 0},
		{"a reply that nobody asked for", mux.Binary(mux.BinaryBody), func(*mux.Mux) {}, reply(1, 1), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := mux.New(c.envelope)
			c.register(m)
			s := discarding(t, protocolOf(m))
			testkit.Steady(t, "a message", c.most, func() { m.ServeMessage(s, c.msg) })
			if got := m.Stats(); got.Unknown+got.BadBodies > 0 || s.IsClosed() {
				t.Errorf("%+v, %v", got, s.Err())
			}
		})
	}
	t.Run("a message that is sent", func(t *testing.T) {
		m := newMux()
		s := discarding(t, protocolOf(m))
		msg := &mux.Message{Kind: other, Body: answer}
		testkit.Steady(t, "Send", 0, func() { _ = s.Send(msg) })
	})
}

// silent is a protobuf message that takes no memory.
type silent struct{}

func (*silent) Unmarshal([]byte) error { return nil }
