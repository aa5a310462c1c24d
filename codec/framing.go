package codec

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/libnet-go/libnet"
)

// completeFraming is a framing with everything optional, as those of this package are.
type completeFraming interface {
	Framing
	Sealer
	Limiter
}

// complete adds what f has not, and checks the answers of a framing that is not of this package.
func complete(f Framing) completeFraming {
	switch f := f.(type) {
	case uvarint:
		return f
	case lines:
		return f
	case *delimiter:
		return f
	case fixed:
		return f
	case *lengthField:
		return f
	}
	c := &foreign{Framing: f}
	c.sealer, _ = f.(Sealer)
	c.limiter, _ = f.(Limiter)
	return c
}

// framed encodes and decodes for any framing and marshaler.
type framed struct {
	framing   completeFraming
	max       int
	marshaler boundedMarshaler
}

// MaxMessage is the longest message in bytes that this codec sends and accepts.
func (c *framed) MaxMessage() int { return c.max }

func (c *framed) ParseFrame(src []byte) (payload []byte, n int, err error) {
	return c.framing.ParseFrameMax(src, c.max)
}

func (c *framed) AppendFrame(dst []byte, msg any) ([]byte, error) {
	out, err := c.marshaler.appendMax(appendZeros(dst, c.framing.Room()), msg, c.max)
	if err == nil {
		out, err = c.framing.SealFrame(out, len(dst))
	}
	if err != nil {
		return dst, c.refuse(err)
	}
	return out, nil
}

// refuse adds to an error of AppendFrame what the codec's user relies on: that it says nothing was
// written. A message too long for a fixed size is of the wrong size, too.
func (c *framed) refuse(err error) error {
	if _, ok := c.framing.(fixed); ok || !errors.Is(err, libnet.ErrFrameTooLarge) {
		return encodeError(err)
	}
	return err
}

// headerAppender is a framing whose frames are a header and then the whole payload.
type headerAppender interface {
	splits() bool // false where this depends on how it was set up
	appendHeader(dst []byte, payloadLen int) ([]byte, error)
}

// splitting is framed with [Bytes] and such a framing.
type splitting struct {
	framed
	header headerAppender
}

func (c *splitting) SplitFrame(dst []byte, msg any) (header, payload []byte, err error) {
	payload, err = splittable(msg)
	if err == nil && len(payload) > c.max {
		err = tooLarge(uint64(len(payload)), c.max)
	}
	if err != nil || len(payload) == 0 {
		return dst, nil, err
	}
	header, err = c.header.appendHeader(dst, len(payload))
	if err != nil {
		return dst, nil, err
	}
	return header, payload, nil
}

// foreign is a user's framing, of which only the three methods of [Framing] are certain, and its
// answers are not.
type foreign struct {
	Framing
	sealer  Sealer
	limiter Limiter
}

func (f *foreign) Room() int {
	if f.sealer == nil {
		return 0
	}
	return f.sealer.Room()
}

func (f *foreign) SealFrame(dst []byte, start int) ([]byte, error) {
	if f.sealer != nil {
		out, err := f.sealer.SealFrame(dst, start)
		if err == nil && len(out) < start {
			err = errShrunk
		}
		return out, err
	}
	// The frame is appended behind the payload it is made of, and then moved over it.
	out, err := f.Framing.AppendFrame(dst, dst[start:])
	if err != nil {
		return dst, err
	}
	if len(out) < len(dst) {
		return dst, errShrunk
	}
	return out[:start+copy(out[start:], out[len(dst):])], nil
}

func (f *foreign) ParseFrameMax(src []byte, limit int) (payload []byte, n int, err error) {
	if f.limiter != nil {
		payload, n, err = f.limiter.ParseFrameMax(src, limit)
	} else {
		payload, n, err = f.Framing.ParseFrame(src)
	}
	switch {
	case errors.Is(err, libnet.ErrFrameTooLarge) || errors.Is(err, libnet.ErrMalformedFrame):
		return nil, 0, err
	case err != nil:
		return nil, 0, fmt.Errorf("%w: %w", libnet.ErrMalformedFrame, err)
	case n < 0 || n > len(src):
		return nil, 0, fmt.Errorf("%w: the framing cut %d bytes from %d", libnet.ErrMalformedFrame, n, len(src))
	case n > 0 && len(payload) > limit:
		return nil, 0, tooLarge(uint64(len(payload)), limit)
	case n == 0 && len(src) > unfinishedMax(limit):
		return nil, 0, tooLarge(uint64(len(src)), limit)
	case n == 0:
		return nil, 0, nil
	case payload == nil:
		payload = src[:0:0]
	}
	return slices.Clip(payload), n, nil
}

// unfinishedMax is what [Limiter] documents for a framing that does not know the bound.
func unfinishedMax(limit int) int {
	if limit > (math.MaxInt-1024)/2 {
		return math.MaxInt
	}
	return 2*limit + 1024
}

var errShrunk = fmt.Errorf("%w: the framing or marshaler returned less than it was given", libnet.ErrEncode)

// appendPayload is AppendFrame for a framing that can seal.
func appendPayload(s Sealer, dst, payload []byte) ([]byte, error) {
	out, err := s.SealFrame(append(appendZeros(dst, s.Room()), payload...), len(dst))
	if err != nil {
		return dst, err
	}
	return out, nil
}

func appendZeros(dst []byte, n int) []byte {
	return append(dst, make([]byte, n)...) // compiles to a clear, without a second slice
}

// tooLarge reports a claimed or actual length and the limit it is over. Errors of this package never
// hold a part of the payload.
func tooLarge(n uint64, limit int) error {
	return fmt.Errorf("%w: %d bytes, limit %d", libnet.ErrFrameTooLarge, n, limit)
}

// encodeError makes err one that wraps libnet.ErrEncode.
func encodeError(err error) error {
	if errors.Is(err, libnet.ErrEncode) {
		return err
	}
	return fmt.Errorf("%w: %w", libnet.ErrEncode, err)
}
