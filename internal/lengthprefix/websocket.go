package lengthprefix

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// Of a WebSocket's frame (RFC 6455, 5.2).
const (
	finBit     = 0x80
	opText     = 0x1
	maskBit    = 0x80
	lengthIn16 = 126 // and above; in the place of a length it says that this follows

	maskedHeader = 6 // of a frame of less than that: two bytes, and the key of the mask
	maxHeader    = 14
)

// MaxWebSocketBytes is the longest payload that a server's frame may have here: the header of a longer one is longer
// than 8 bytes.
const MaxWebSocketBytes = 0xffff

// WebSocket returns the framing of a WebSocket's server where a frame is a message: of text or of bytes, as the opcode
// says, and not compressed. It says nothing of all other frames.
func WebSocket(opcode byte, limit int) Prefix {
	return Prefix{Size: maxHeader, Max: limit, Bytes: -1, first: finBit | opcode}
}

// Masked says that frames are cut by CutMasked, and not by Cut.
func (p *Prefix) Masked() bool { return p.first != 0 }

// CutMasked is Cut for a client's frame of less than 126 bytes, and unmasks that in place: who calls it has to take the
// frame. A text that is not UTF-8 stays as it was.
func (p *Prefix) CutMasked(src []byte) (payload []byte, n int) {
	if len(src) < 8 {
		return nil, 0
	}
	head := binary.LittleEndian.Uint64(src)
	length := int(byte(head>>8)) - maskBit
	n = maskedHeader + length
	if byte(head) != p.first || length < 0 || length >= lengthIn16 || length > p.Max || n > len(src) {
		return nil, 0
	}
	payload = src[maskedHeader:n:n]
	key := uint32(head >> 16)
	Mask(payload, key)
	if p.first == finBit|opText && !utf8.Valid(payload) {
		Mask(payload, key)
		return nil, 0
	}
	return payload, n
}

// webSocketHeader is Header for a server's frame, which has no mask.
func (p *Prefix) webSocketHeader(n int) (head uint64, size int) {
	if n < lengthIn16 {
		return uint64(p.first) | uint64(n)<<8, 2
	}
	return uint64(p.first) | lengthIn16<<8 | uint64(bits.ReverseBytes16(uint16(n)))<<16, 4
}

// Mask masks or unmasks p with a WebSocket's key, whose first byte is the lowest, and returns the key for what follows
// p.
func Mask(p []byte, key uint32) uint32 {
	both := uint64(key)<<32 | uint64(key)
	for ; len(p) >= 32; p = p[32:] {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^both)
		binary.LittleEndian.PutUint64(p[8:], binary.LittleEndian.Uint64(p[8:])^both)
		binary.LittleEndian.PutUint64(p[16:], binary.LittleEndian.Uint64(p[16:])^both)
		binary.LittleEndian.PutUint64(p[24:], binary.LittleEndian.Uint64(p[24:])^both)
	}
	for ; len(p) >= 8; p = p[8:] {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^both)
	}
	for i := range p {
		p[i] ^= byte(key)
		key = bits.RotateLeft32(key, -8)
	}
	return key
}
