package codec

import (
	"bytes"
	"fmt"
	"math"
	"reflect"
	"slices"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/errchain"
)

// guard stands before what a user's framing or marshaler appends, in the place of the frames that are
// queued already: those are out of its reach, and what returns without the guard was not appended.
const guard = "\xfe\x0f\xa5\x1c"

var errNotAppended = fmt.Errorf("%w: the framing or marshaler did not append to what it was given", libnet.ErrEncode)

// appended returns what was appended to a guard.
func appended(out []byte) ([]byte, error) {
	if len(out) < len(guard) || string(out[:len(guard)]) != guard {
		return nil, errNotAppended
	}
	return out[len(guard):], nil
}

// foreignMarshaler is a user's marshaler.
type foreignMarshaler struct{ Marshaler }

func (m foreignMarshaler) appendMax(dst []byte, msg any, limit int) ([]byte, error) {
	if msg == nil {
		return dst, errNil
	}
	room := append(dst, guard...)
	out, err := m.Marshaler.AppendMarshal(room[len(dst):], msg)
	if err != nil {
		return dst, foreignEncodeError(err)
	}
	body, err := appended(out)
	if err != nil {
		return dst, err
	}
	if len(body) > limit {
		return dst, tooLarge(uint64(len(body)), limit)
	}
	return append(room[:len(dst)], body...), nil
}

// foreign is a user's framing, of which only the three methods of [Framing] are certain, and its
// answers are not.
type foreign struct {
	Framing
	sealer  Sealer
	limiter Limiter
}

var _ completeFraming = (*foreign)(nil)

func newForeign(f Framing) *foreign {
	c := &foreign{Framing: f}
	c.sealer, _ = f.(Sealer)
	c.limiter, _ = f.(Limiter)
	return c
}

// Room is for a Sealer's guard and room. One that says nonsense is refused by SealFrame.
func (f *foreign) Room() int {
	if f.sealer == nil {
		return 0
	}
	return len(guard) + min(max(f.sealer.Room(), 0), maxHeader)
}

// SealFrame has the user's framing append its frame behind the payload it is made of, or seal it, and then
// moves the frame to where the payload began.
func (f *foreign) SealFrame(dst []byte, start int) ([]byte, error) {
	var out []byte
	var err error
	if f.sealer != nil {
		if room := f.sealer.Room(); room < 0 || room > maxHeader {
			return dst, fmt.Errorf("%w: a framing's Room of %d", libnet.ErrEncode, room)
		}
		copy(dst[start:], guard)
		out, err = f.sealer.SealFrame(dst[start:], len(guard))
	} else {
		payload := slices.Clip(dst[start:])
		dst = append(slices.Grow(dst, len(guard)+len(payload)+usualHeader), guard...)
		out, err = f.Framing.AppendFrame(dst[len(dst)-len(guard):], payload)
	}
	if err != nil {
		return dst, foreignEncodeError(err)
	}
	frame, err := appended(out)
	switch {
	case err != nil:
		return dst, err
	case len(frame) == 0:
		return dst, errEmptyFrame
	}
	return append(dst[:start], frame...), nil
}

// usualHeader is what a user's framing may add to a payload before it must allocate.
const usualHeader = 64

var errEmptyFrame = fmt.Errorf("%w: the framing made a frame of no bytes", libnet.ErrEncode)

func (f *foreign) ParseFrameMax(src []byte, limit int) (payload []byte, n int, err error) {
	src = slices.Clip(src)
	if f.limiter != nil {
		payload, n, err = f.limiter.ParseFrameMax(src, limit)
	} else {
		payload, n, err = f.Framing.ParseFrame(src)
	}
	switch {
	case err != nil:
		return nil, 0, foreignFrameError(err)
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

// checkPayload sends the payload to itself.
func (f *foreign) checkPayload(payload []byte, limit int) error {
	room := appendZeros(nil, f.Room())
	frame, err := f.SealFrame(append(room, payload...), 0)
	if errchain.Is(err, libnet.ErrFrameTooLarge) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: %v", libnet.ErrMalformedFrame, err)
	}
	got, n, err := f.ParseFrameMax(frame, limit)
	if err == nil && (n != len(frame) || !bytes.Equal(got, payload)) {
		err = errOtherPayload
	}
	return err
}

var errOtherPayload = fmt.Errorf("%w: a payload that the framing would change", libnet.ErrMalformedFrame)

// unfinishedMax is what [Limiter] documents for a framing that does not know the bound.
func unfinishedMax(limit int) int {
	if limit > (math.MaxInt-1024)/2 {
		return math.MaxInt
	}
	return 2*limit + 1024
}

// foreignEncodeError makes a user's error one of those that AppendFrame may return.
func foreignEncodeError(err error) error {
	if err = sound(err); errchain.Is(err, libnet.ErrFrameTooLarge) {
		return err
	}
	return encodeError(err)
}

// foreignFrameError makes a user's error one of those that ParseFrame may return.
func foreignFrameError(err error) error {
	if err = sound(err); errchain.Is(err, libnet.ErrFrameTooLarge) || errchain.Is(err, libnet.ErrMalformedFrame) {
		return err
	}
	return fmt.Errorf("%w: %w", libnet.ErrMalformedFrame, err)
}

// sound returns err, or another error if nobody could ask it what it says and wraps: a nil pointer that
// became an error, say, whose methods panic.
func sound(err error) (asked error) {
	if isNil(err) {
		return fmt.Errorf("a nil %T as an error", err)
	}
	defer func() {
		if recover() != nil {
			asked = fmt.Errorf("a %T whose methods panic", err)
		}
	}()
	errchain.Is(err, errNotAppended)
	_ = err.Error()
	return err
}

// isNil reports whether v is a pointer or a function, and nil.
func isNil(v any) bool {
	switch value := reflect.ValueOf(v); value.Kind() {
	case reflect.Pointer, reflect.Func:
		return value.IsNil()
	}
	return false
}
