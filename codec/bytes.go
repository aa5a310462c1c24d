package codec

import (
	"fmt"
	"math"

	"github.com/libnet-go/libnet"
)

type bytesMarshaler struct{}

// Bytes takes messages that are bytes already: []byte, *[]byte and string. A pointer saves what Go
// allocates to put a slice into an any. A nil slice is the empty message; a nil pointer is an error.
var Bytes bytesMarshaler

func (m bytesMarshaler) AppendMarshal(dst []byte, msg any) ([]byte, error) {
	return m.appendMax(dst, msg, math.MaxInt)
}

func (bytesMarshaler) appendMax(dst []byte, msg any, limit int) ([]byte, error) {
	if s, ok := msg.(string); ok {
		if len(s) > limit {
			return dst, tooLarge(uint64(len(s)), limit)
		}
		return append(dst, s...), nil
	}
	b, err := splittable(msg)
	if err != nil {
		return dst, err
	}
	if len(b) > limit {
		return dst, tooLarge(uint64(len(b)), limit)
	}
	return append(dst, b...), nil
}

// splittable returns the bytes of a message where they lie; those of a string do not lie in a slice,
// for which it answers nil.
func splittable(msg any) ([]byte, error) {
	switch m := msg.(type) {
	case []byte:
		return m, nil
	case *[]byte:
		if m != nil {
			return *m, nil
		}
	case string:
		return nil, nil
	}
	return nil, notBytes(msg)
}

func notBytes(msg any) error {
	if _, ok := msg.(*[]byte); ok || msg == nil {
		return errNil
	}
	return fmt.Errorf("%w: Bytes takes []byte, *[]byte and string, not %T", libnet.ErrEncode, msg)
}

var errNil = fmt.Errorf("%w: nil", libnet.ErrEncode)

// boundedMarshaler is a marshaler that refuses a message longer than limit bytes, before it makes room
// for it if it can. Its errors wrap libnet.ErrFrameTooLarge or libnet.ErrEncode.
type boundedMarshaler interface {
	appendMax(dst []byte, msg any, limit int) ([]byte, error)
}

func withBound(m Marshaler) boundedMarshaler {
	if b, ok := m.(boundedMarshaler); ok {
		return b
	}
	return foreignMarshaler{m}
}
