package codec

import (
	"fmt"

	"github.com/libnet-go/libnet"
)

type fixed struct{ size int }

// Fixed cuts the stream into messages of n bytes each, with nothing between them. A message of
// another size is refused by Send. It panics when n is less than 1.
func Fixed(n int) Framing {
	if n < 1 {
		panic(fmt.Sprintf("libnet: codec.Fixed: a size of %d", n))
	}
	return fixed{n}
}

var _ completeFraming = fixed{}

func (f fixed) Max() int { return f.size }

func (f fixed) AppendFrame(dst, payload []byte) ([]byte, error) {
	return appendPayload(f, dst, payload)
}

func (f fixed) ParseFrame(src []byte) (payload []byte, n int, err error) {
	return f.ParseFrameMax(src, f.size)
}

func (f fixed) ParseFrameMax(src []byte, limit int) (payload []byte, n int, err error) {
	switch {
	case len(src) == 0:
		return nil, 0, nil
	case f.size > limit:
		return nil, 0, tooLarge(uint64(f.size), limit)
	case len(src) < f.size:
		return nil, 0, nil
	}
	return src[:f.size:f.size], f.size, nil
}

func (f fixed) frameLength([]byte) (n uint64, ok bool) { return uint64(f.size), true }

func (f fixed) checkPayload(payload []byte, _ int) error {
	if len(payload) != f.size {
		return fmt.Errorf("%w: %d bytes, the fixed size is %d", libnet.ErrMalformedFrame, len(payload), f.size)
	}
	return nil
}

func (fixed) Room() int { return 0 }

func (f fixed) SealFrame(dst []byte, start int) ([]byte, error) {
	switch length := len(dst) - start; {
	case length > f.size:
		return dst, encodeError(tooLarge(uint64(length), f.size))
	case length < f.size:
		return dst, fmt.Errorf("%w: %d bytes, the fixed size is %d", libnet.ErrEncode, length, f.size)
	}
	return dst, nil
}
