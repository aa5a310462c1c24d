package codec

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/libnet-go/libnet/internal/firstbytes"
	"github.com/libnet-go/libnet/internal/lengthprefix"
	"github.com/libnet-go/libnet/internal/sendqueue"
)

// prefix is a framing whose header is the payload's length in a fixed number of bytes, and nothing else.
type prefix uint8

// Framings that put the length of the payload before it, as an unsigned number of that many bits,
// big-endian (BE, network order) or little-endian (LE). A payload of length 0 is a message.
//
// Their Max is the largest such number, as far as an int goes; with 64 bits, a little less, so that
// the frame can be counted, too.
const (
	Uint8 prefix = iota
	Uint16BE
	Uint16LE
	Uint24BE
	Uint24LE
	Uint32BE
	Uint32LE
	Uint64BE
	Uint64LE
)

func (p prefix) size() int {
	switch p {
	case Uint8:
		return 1
	case Uint16BE, Uint16LE:
		return 2
	case Uint24BE, Uint24LE:
		return 3
	case Uint32BE, Uint32LE:
		return 4
	}
	return 8
}

func (p prefix) Max() int {
	// The frame, header and all, must have a length that is an int.
	return int(min(uint64(math.MaxInt-8), uint64(math.MaxUint64)>>(64-8*p.size())))
}

func (p prefix) AppendFrame(dst, payload []byte) ([]byte, error) {
	if len(payload) > p.Max() {
		return dst, tooLarge(uint64(len(payload)), p.Max())
	}
	return append(p.appendHeader(dst, len(payload)), payload...), nil
}

func (p prefix) ParseFrame(src []byte) (payload []byte, n int, err error) {
	frames := newPrefixed(p, p.Max())
	return frames.ParseFrame(src)
}

// appendHeader needs n to be at most Max.
func (p prefix) appendHeader(dst []byte, n int) []byte {
	v := uint64(n)
	switch p {
	case Uint8:
		return append(dst, byte(v))
	case Uint16BE:
		return binary.BigEndian.AppendUint16(dst, uint16(v))
	case Uint16LE:
		return binary.LittleEndian.AppendUint16(dst, uint16(v))
	case Uint24BE:
		return append(dst, byte(v>>16), byte(v>>8), byte(v))
	case Uint24LE:
		return append(dst, byte(v), byte(v>>8), byte(v>>16))
	case Uint32BE:
		return binary.BigEndian.AppendUint32(dst, uint32(v))
	case Uint32LE:
		return binary.LittleEndian.AppendUint32(dst, uint32(v))
	case Uint64BE:
		return binary.BigEndian.AppendUint64(dst, v)
	}
	return binary.LittleEndian.AppendUint64(dst, v)
}

func (p prefix) bigEndian() bool {
	switch p {
	case Uint16BE, Uint24BE, Uint32BE, Uint64BE:
		return true
	}
	return false
}

// prefixed encodes and decodes for the framings of this file: the path of the seed's protocol, so
// without a call through an interface where it can be avoided.
type prefixed struct {
	prefix    prefix
	wire      lengthprefix.Prefix
	marshaler boundedMarshaler // nil in prefixedBytes
}

func newPrefixed(p prefix, limit int) prefixed {
	return prefixed{prefix: p, wire: lengthprefix.New(p.size(), p.bigEndian(), limit)}
}

// LengthPrefix lets a session cut the frames itself, and put them together if messages are bytes: no code of a user's
// runs there.
func (c *prefixed) LengthPrefix() *lengthprefix.Prefix { return &c.wire }

// MaxMessage is the longest message in bytes that this codec sends and accepts.
func (c *prefixed) MaxMessage() int { return c.wire.Max }

func (c *prefixed) ParseFrame(src []byte) (payload []byte, n int, err error) {
	if len(src) < c.wire.Size {
		return nil, 0, nil
	}
	claim := c.wire.Length(src)
	if claim > uint64(c.wire.Max) {
		return nil, 0, tooLarge(claim, c.wire.Max)
	}
	n = c.wire.Size + int(claim)
	if len(src) < n {
		return nil, 0, nil
	}
	return src[c.wire.Size:n:n], n, nil
}

// FrameLength is that of [framed].
func (c *prefixed) FrameLength(head []byte) (n firstbytes.Length, ok bool) {
	if len(head) < c.wire.Size {
		return 0, false
	}
	return firstbytes.Length(uint64(c.wire.Size) + c.wire.Length(head)), true
}

func (c *prefixed) AppendFrame(dst []byte, msg any) ([]byte, error) {
	body := len(dst) + c.wire.Size
	out, err := c.marshaler.appendMax(c.prefix.appendHeader(dst, 0), msg, c.wire.Max)
	if err != nil {
		return dst, err
	}
	c.prefix.appendHeader(out[:len(dst)], len(out)-body)
	return out, nil
}

// prefixedBytes is prefixed with [Bytes].
type prefixedBytes struct{ prefixed }

func (c *prefixedBytes) AppendFrame(dst []byte, msg any) ([]byte, error) {
	var payload []byte
	switch m := msg.(type) {
	case []byte:
		payload = m
	case *[]byte:
		if m == nil {
			return dst, notBytes(msg)
		}
		payload = *m
	case string:
		if len(m) > c.wire.Max {
			return dst, tooLarge(uint64(len(m)), c.wire.Max)
		}
		return append(c.prefix.appendHeader(dst, len(m)), m...), nil
	default:
		return dst, notBytes(msg)
	}
	if len(payload) > c.wire.Max {
		return dst, tooLarge(uint64(len(payload)), c.wire.Max)
	}
	return append(c.prefix.appendHeader(dst, len(payload)), payload...), nil
}

// BytesHeader says how a session may put the frame of payload together by itself, under its queue's lock, where no code
// of a user's may run. It answers no header for what AppendFrame has to see. isBytes says that the codec's messages are
// bytes as they are, and that it takes a pointer to a slice for that.
func (c *prefixedBytes) BytesHeader(payload []byte) (h sendqueue.Header, isBytes bool) {
	return c.header(payload), true
}

func (c *prefixed) header(payload []byte) (h sendqueue.Header) {
	if len(payload) > c.wire.Max {
		return h
	}
	h.Bytes, h.Len = c.wire.Header(len(payload))
	return h
}

// PayloadHeader is BytesHeader for a message that is a [sendqueue.Payload].
func (c *prefixed) PayloadHeader(payload []byte) (h sendqueue.Header) {
	if !c.wire.Payloads {
		return h
	}
	return c.header(payload)
}

// takesPayloads reports whether a marshaler says of itself that it appends a [sendqueue.Payload] as it is, as package
// resume's does. One that is put around it does not say so, and sees each message.
func takesPayloads(m Marshaler) bool {
	p, ok := m.(interface{ TakesPayload(sendqueue.Payload) bool })
	return ok && p.TakesPayload(sendqueue.Payload{})
}

// CheckPayload is that of [framed].
func (c *prefixed) CheckPayload(payload []byte) error {
	if len(payload) > c.wire.Max {
		return tooLarge(uint64(len(payload)), c.wire.Max)
	}
	return nil
}

// SplitFrame answers a nil payload for a string: AppendFrame has to copy it anyway.
func (c *prefixedBytes) SplitFrame(dst []byte, msg any) (header, payload []byte, err error) {
	payload, err = splittable(msg)
	if err == nil && len(payload) > c.wire.Max {
		err = tooLarge(uint64(len(payload)), c.wire.Max)
	}
	if err != nil || len(payload) == 0 {
		return dst, nil, err
	}
	return c.prefix.appendHeader(dst, len(payload)), slices.Clip(payload), nil
}

var _ Framing = Uint8
