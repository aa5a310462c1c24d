package codec

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/libnet-go/libnet"
)

// LengthField is the general framing by a length that lies somewhere in the frame's header. It
// speaks every protocol that Netty's LengthFieldBasedFrameDecoder can be set up for, and the
// settings mean the same.
//
// The number in the field, plus Adjust, is how many bytes follow the field; with IncludesHeader it
// is how many bytes the frame has from its start. The message is the frame without its first Strip
// bytes, in both directions: to send, these are made of zeros, the length is filled in wherever the
// field lies, also over bytes of the message, and the rest is the message as it is. So with Strip 0
// a message is received with its header and is sent with its header, of which all but the length is
// the sender's to set.
//
// A number that puts the frame's end before the end of its header, or of what is stripped, is a
// malformed frame.
type LengthField struct {
	Offset         int              // bytes before the length field, 0 to 65,535
	Size           int              // bytes of the length field, 1 to 8
	Order          binary.ByteOrder // of the length field; nil means big-endian
	Adjust         int              // added to the number that is read, -1<<30 to 1<<30
	IncludesHeader bool             // the number counts the Offset bytes and the field itself, too
	Strip          int              // bytes at the start of the frame that are not part of the message, 0 to 65,535
}

// Max is the longest message: the longest frame that the field can tell, without what is stripped.
func (f LengthField) Max() int { return f.compile().Max() }

// AppendFrame appends the frame of which payload is what Strip leaves.
func (f LengthField) AppendFrame(dst, payload []byte) ([]byte, error) {
	return f.compile().AppendFrame(dst, payload)
}

// ParseFrame returns the frame at the start of src without its first Strip bytes.
func (f LengthField) ParseFrame(src []byte) (payload []byte, n int, err error) {
	return f.compile().ParseFrame(src)
}

const (
	maxHeader = 1<<16 - 1 // Offset and Strip: a header is buffered before its bound is known
	maxAdjust = 1 << 30   // so that sums of lengths stay far from overflow
)

// compile checks f and computes what is the same for every frame.
func (f LengthField) compile() *lengthField {
	misuse := func(field string, value int) {
		panic(fmt.Sprintf("libnet: codec.LengthField: %s cannot be %d", field, value))
	}
	switch {
	case f.Offset < 0 || f.Offset > maxHeader:
		misuse("Offset", f.Offset)
	case f.Size < 1 || f.Size > 8:
		misuse("Size", f.Size)
	case f.Adjust < -maxAdjust || f.Adjust > maxAdjust:
		misuse("Adjust", f.Adjust)
	case f.Strip < 0 || f.Strip > maxHeader:
		misuse("Strip", f.Strip)
	}
	c := &lengthField{
		offset: f.Offset,
		size:   f.Size,
		head:   f.Offset + f.Size,
		strip:  f.Strip,
		base:   int64(f.Adjust),
		little: f.Order != nil && f.Order.Uint16([]byte{1, 0}) == 1,
	}
	if !f.IncludesHeader {
		c.base += int64(c.head)
	}
	c.maxNumber = min(uint64(math.MaxUint64)>>(64-8*c.size), math.MaxInt64-2*maxAdjust)
	longest := min(int64(c.maxNumber)+c.base, math.MaxInt)
	if longest < int64(max(c.head, c.strip)) {
		misuse("Adjust", f.Adjust)
	}
	c.max = int(longest) - c.strip
	return c
}

// lengthField is a LengthField made ready.
type lengthField struct {
	offset, size, strip int
	head                int    // Offset + Size: what must be there to know the frame's length
	base                int64  // the frame's length is this and the number in the field
	maxNumber           uint64 // the largest one that is added to base
	max                 int
	little              bool
}

var (
	_ Framing         = LengthField{}
	_ completeFraming = (*lengthField)(nil)
	_ headerAppender  = (*lengthField)(nil)
)

func (f *lengthField) Max() int { return f.max }

func (f *lengthField) AppendFrame(dst, payload []byte) ([]byte, error) {
	return appendPayload(f, dst, payload)
}

func (f *lengthField) ParseFrame(src []byte) (payload []byte, n int, err error) {
	return f.ParseFrameMax(src, f.max)
}

func (f *lengthField) ParseFrameMax(src []byte, limit int) (payload []byte, n int, err error) {
	if len(src) < f.head {
		return nil, 0, nil
	}
	number := f.number(src[f.offset:f.head])
	limit = min(limit, f.max)
	if number > f.maxNumber {
		return nil, 0, tooLarge(number, limit)
	}
	length := f.base + int64(number)
	switch {
	case length < int64(f.head) || length < int64(f.strip):
		return nil, 0, fmt.Errorf("%w: a length of %d ends the frame inside its header", libnet.ErrMalformedFrame, number)
	case length-int64(f.strip) > int64(limit):
		return nil, 0, tooLarge(uint64(length)-uint64(f.strip), limit)
	case int64(len(src)) < length:
		return nil, 0, nil
	}
	n = int(length)
	return src[f.strip:n:n], n, nil
}

func (f *lengthField) frameLength(head []byte) (n uint64, ok bool) {
	if len(head) < f.head {
		return 0, false
	}
	number := f.number(head[f.offset:f.head])
	if number > f.maxNumber {
		return 0, false
	}
	return uint64(f.base + int64(number)), true
}

func (f *lengthField) number(field []byte) (v uint64) {
	if f.little {
		for i := len(field) - 1; i >= 0; i-- {
			v = v<<8 | uint64(field[i])
		}
		return v
	}
	for _, b := range field {
		v = v<<8 | uint64(b)
	}
	return v
}

func (f *lengthField) putNumber(field []byte, v uint64) {
	for i := range field {
		shift := 8 * i
		if !f.little {
			shift = 8 * (len(field) - 1 - i)
		}
		field[i] = byte(v >> shift)
	}
}

// checkPayload looks for what of the length is a part of the message, which must tell its length.
func (f *lengthField) checkPayload(payload []byte, _ int) error {
	length := int64(f.strip) + int64(len(payload))
	number := length - f.base
	if length < int64(f.head) || number < 0 || uint64(number) > f.maxNumber {
		return fmt.Errorf("%w: %d bytes, which its length cannot tell", libnet.ErrMalformedFrame, len(payload))
	}
	var field [8]byte
	f.putNumber(field[:f.size], uint64(number))
	for i := max(0, f.strip-f.offset); i < f.size; i++ {
		if payload[f.offset+i-f.strip] != field[i] {
			return fmt.Errorf("%w: %d bytes, whose header tells another length", libnet.ErrMalformedFrame, len(payload))
		}
	}
	return nil
}

func (f *lengthField) Room() int { return f.strip }

func (f *lengthField) SealFrame(dst []byte, start int) ([]byte, error) {
	frame := dst[start:]
	if len(frame) < f.head {
		return dst, fmt.Errorf("%w: %d bytes, the header alone has %d", libnet.ErrEncode, len(frame)-f.strip, f.head-f.strip)
	}
	number := int64(len(frame)) - f.base
	switch {
	case number < 0:
		return dst, fmt.Errorf("%w: %d bytes are fewer than Adjust allows", libnet.ErrEncode, len(frame)-f.strip)
	case uint64(number) > f.maxNumber:
		return dst, tooLarge(uint64(len(frame)-f.strip), f.max)
	}
	f.putNumber(frame[f.offset:f.head], uint64(number))
	return dst, nil
}

// splits: the length must not have to be written over the message.
func (f *lengthField) splits() bool { return f.strip >= f.head }

func (f *lengthField) appendHeader(dst []byte, payloadLen int) ([]byte, error) {
	number := int64(payloadLen) + int64(f.strip) - f.base
	switch {
	case number < 0:
		return dst, fmt.Errorf("%w: %d bytes are fewer than Adjust allows", libnet.ErrEncode, payloadLen)
	case uint64(number) > f.maxNumber:
		return dst, tooLarge(uint64(payloadLen), f.max)
	}
	start := len(dst)
	dst = appendZeros(dst, f.strip)
	f.putNumber(dst[start+f.offset:start+f.head], uint64(number))
	return dst, nil
}
