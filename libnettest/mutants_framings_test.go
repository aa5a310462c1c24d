package libnettest_test

import (
	"encoding/binary"
	"math"
	"sync/atomic"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
)

// framing is one of the user's own, behind a length of two bytes, with everything optional. A mutant overrides a
// method.
type framing struct{}

var _ interface {
	codec.Framing
	codec.Sealer
	codec.Limiter
} = framing{}

func (framing) Max() int  { return math.MaxUint16 }
func (framing) Room() int { return 2 }

func (framing) AppendFrame(dst, payload []byte) ([]byte, error) {
	if len(payload) > math.MaxUint16 {
		return dst, libnet.ErrFrameTooLarge
	}
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(payload))), payload...), nil
}

func (framing) SealFrame(dst []byte, start int) ([]byte, error) {
	n := len(dst) - start - 2
	if n > math.MaxUint16 {
		return dst, libnet.ErrFrameTooLarge
	}
	binary.BigEndian.PutUint16(dst[start:], uint16(n))
	return dst, nil
}

func (f framing) ParseFrame(src []byte) ([]byte, int, error) { return f.ParseFrameMax(src, f.Max()) }

func (framing) ParseFrameMax(src []byte, limit int) ([]byte, int, error) {
	if len(src) < 2 {
		return nil, 0, nil
	}
	n := int(binary.BigEndian.Uint16(src))
	switch {
	case n > limit:
		return nil, 0, libnet.ErrFrameTooLarge
	case len(src) < 2+n:
		return nil, 0, nil
	}
	return src[2 : 2+n : 2+n], 2 + n, nil
}

type boasting struct{ framing } // says that more fits than does

func (boasting) Max() int { return 1 << 16 }

func (boasting) SealFrame(dst []byte, start int) ([]byte, error) {
	binary.BigEndian.PutUint16(dst[start:], uint16(len(dst)-start-2))
	return dst, nil
}

type tardy struct{ framing } // looks at the bound when the frame is there

func (f tardy) ParseFrameMax(src []byte, limit int) ([]byte, int, error) {
	p, n, err := f.framing.ParseFrameMax(src, math.MaxUint16)
	if len(p) > limit {
		return nil, 0, libnet.ErrFrameTooLarge
	}
	return p, n, err
}

type trampling struct{ framing } // seals from the beginning of dst

func (f trampling) SealFrame(dst []byte, start int) ([]byte, error) {
	out, err := f.framing.SealFrame(dst, start)
	if err == nil && start > 0 {
		dst[0] = 0
	}
	return out, err
}

type counting struct { // damages every 40th frame
	framing
	n *atomic.Int64
}

func (f counting) SealFrame(dst []byte, start int) ([]byte, error) {
	out, err := f.framing.SealFrame(dst, start)
	if err == nil && f.n.Add(1)%40 == 0 && len(out) > start+2 {
		out[len(out)-1] ^= 1
	}
	return out, err
}

type clumsy struct{ framing } // panics where a claim goes beyond what is there

func (f clumsy) ParseFrameMax(src []byte, limit int) ([]byte, int, error) {
	if len(src) > 2 {
		_ = src[2:][:min(int(binary.BigEndian.Uint16(src)), cap(src))]
	}
	return f.framing.ParseFrameMax(src, limit)
}

// plainly is a marshaler of []byte and string; a mutant overrides its method.
type plainly struct{}

func (plainly) AppendMarshal(dst []byte, msg any) ([]byte, error) {
	p, err := payloadOf(msg)
	return append(dst, p...), err
}

type forgetful struct{ plainly } // loses what was in dst

func (m forgetful) AppendMarshal(dst []byte, msg any) ([]byte, error) {
	return m.plainly.AppendMarshal(make([]byte, len(dst)), msg)
}

type writing struct{ plainly } // ends the caller's message with a line feed

func (m writing) AppendMarshal(dst []byte, msg any) ([]byte, error) {
	if p, ok := msg.([]byte); ok {
		msg = append(p, '\n')[:len(p)]
	}
	return m.plainly.AppendMarshal(dst, msg)
}

type shivering struct { // damages every 40th message
	plainly
	n *atomic.Int64
}

func (m shivering) AppendMarshal(dst []byte, msg any) ([]byte, error) {
	out, err := m.plainly.AppendMarshal(dst, msg)
	if err == nil && m.n.Add(1)%40 == 0 && len(out) > len(dst) {
		out[len(out)-1] ^= 1
	}
	return out, err
}

func TestTheKitCatchesMutantsOfFramingsAndMarshalers(t *testing.T) {
	for name, test := range map[string]struct {
		framing   codec.Framing
		marshaler codec.Marshaler
		check     string
		promise   string
	}{
		"a framing that says more fits than does":        {boasting{}, plainly{}, "a message that is too long", wholeOrNot},
		"a framing that waits for a frame too large":     {tardy{}, plainly{}, "a bound that the stream sets", fromHeader},
		"a framing that seals from the beginning of dst": {trampling{}, plainly{}, "AppendFrame", "did not append"},
		"a framing that damages every 40th frame":        {counting{n: new(atomic.Int64)}, plainly{}, "many messages in a row", inOrder},
		"a framing that panics on a claim":               {clumsy{}, plainly{}, "claimed lengths and noise", "panicked"},
		"a marshaler that loses what was in dst":         {framing{}, forgetful{}, "AppendFrame", "did not append"},
		"a marshaler that writes behind the message":     {framing{}, writing{}, "a sent message is the caller's", "must leave a message alone"},
		"a marshaler that damages every 40th message":    {framing{}, shivering{n: new(atomic.Int64)}, "many messages in a row", inOrder},
	} {
		t.Run(name, func(t *testing.T) {
			wantCaught(t, test.check, test.promise, codec.New(test.framing, test.marshaler), mutantMessages()...)
		})
	}
}
