package codec

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/libnet-go/libnet"
)

type uvarint struct{}

// Uvarint puts the length of the payload before it as a base-128 varint: seven bits a byte, lowest
// first, the top bit set in all bytes but the last. Protocol Buffers' delimited streams and MQTT
// count so. It is written in the fewest bytes. A longer form is understood up to ten bytes, as by
// [binary.Uvarint]; one that goes on after that or exceeds 64 bits is a malformed frame.
var Uvarint uvarint

var (
	_ completeFraming = Uvarint
	_ headerAppender  = Uvarint
)

func (uvarint) Max() int { return math.MaxInt - binary.MaxVarintLen64 }

func (uvarint) AppendFrame(dst, payload []byte) ([]byte, error) {
	return append(binary.AppendUvarint(dst, uint64(len(payload))), payload...), nil
}

func (f uvarint) ParseFrame(src []byte) (payload []byte, n int, err error) {
	return f.ParseFrameMax(src, f.Max())
}

func (f uvarint) ParseFrameMax(src []byte, limit int) (payload []byte, n int, err error) {
	limit = min(limit, f.Max())
	claim, size := binary.Uvarint(src)
	switch {
	case size < 0 || size == 0 && len(src) >= binary.MaxVarintLen64:
		return nil, 0, errVarint
	case size == 0:
		return nil, 0, nil
	case claim > uint64(limit):
		return nil, 0, tooLarge(claim, limit)
	}
	n = size + int(claim)
	if len(src) < n {
		return nil, 0, nil
	}
	return src[size:n:n], n, nil
}

func (uvarint) frameLength(head []byte) (n uint64, ok bool) {
	claim, size := binary.Uvarint(head)
	return claim + uint64(max(size, 0)), size > 0
}

var errVarint = fmt.Errorf("%w: a varint of more than 64 bits", libnet.ErrMalformedFrame)

// Room is that of the lengths below 128. SealFrame moves a longer payload to make more.
func (uvarint) Room() int { return 1 }

func (uvarint) SealFrame(dst []byte, start int) ([]byte, error) {
	length := len(dst) - start - 1
	if length < 0x80 {
		dst[start] = byte(length)
		return dst, nil
	}
	var header [binary.MaxVarintLen64]byte
	size := binary.PutUvarint(header[:], uint64(length))
	dst = append(dst, header[1:size]...)
	copy(dst[start+size:], dst[start+1:start+1+length])
	copy(dst[start:], header[:size])
	return dst, nil
}

func (uvarint) checkPayload([]byte, int) error { return nil }

func (uvarint) splits() bool { return true }

func (uvarint) appendHeader(dst []byte, payloadLen int) ([]byte, error) {
	return binary.AppendUvarint(dst, uint64(payloadLen)), nil
}
