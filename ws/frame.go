package ws

import (
	"encoding/binary"
	"math/rand/v2"

	"github.com/libnet-go/libnet/internal/lengthprefix"
)

// Of a frame (RFC 6455, 5.2): its first byte is finBit, reservedBits and the opcode, its second maskBit and the
// payload's length, or one of two marks that say where the length is.
const (
	finBit       = 0x80
	reservedBits = 0x70
	deflatedBit  = 0x40 // of the reserved ones, of a message's first frame (RFC 7692, 6)
	opcodeBits   = 0x0f
	maskBit      = 0x80
	lengthBits   = 0x7f

	lengthIn16 = 126
	lengthIn64 = 127

	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa

	keySize           = 4
	maxControlPayload = 125 // RFC 6455, 5.5
)

// appendHeader appends the header of a frame with n bytes of payload, without the key of a mask.
func appendHeader(dst []byte, first byte, n int, mask byte) []byte {
	dst = append(dst, first)
	switch {
	case n < lengthIn16:
		return append(dst, mask|byte(n))
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, mask|lengthIn16), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, mask|lengthIn64), uint64(n))
}

// appendFrame appends a frame. A client masks what it sends, a server does not.
func appendFrame(dst []byte, first byte, payload []byte, masked bool) []byte {
	if !masked {
		return append(appendHeader(dst, first, len(payload), 0), payload...)
	}
	dst = appendHeader(dst, first, len(payload), maskBit)
	// Unpredictable to whoever chooses the payload, as RFC 6455, 10.3 wants: the generator is ChaCha8 with a random
	// seed.
	key := rand.Uint32()
	dst = binary.LittleEndian.AppendUint32(dst, key)
	start := len(dst)
	dst = append(dst, payload...)
	lengthprefix.Mask(dst[start:], key)
	return dst
}
