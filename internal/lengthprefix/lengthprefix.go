// Package lengthprefix is the framing by a length before the payload, as one type whose calls the compiler can put in
// line: package codec makes it, and sessions cut and write such frames themselves, for which they would else call
// through two interfaces a message.
package lengthprefix

import (
	"encoding/binary"
	"math/bits"
)

// A Prefix is such a framing. It never changes.
type Prefix struct {
	Size  int // of what is before the payload, in bytes: 1 to 8; of a WebSocket's frames, the most
	Max   int // the longest payload
	shift uint8
	big   bool
	first byte // of a WebSocket's frames; 0 for all others

	// Bytes is the longest message of those that are bytes, which go into frames as they are, or by a pointer to them;
	// -1 where they are not.
	Bytes int

	// Payloads says that the codec puts a sendqueue.Payload behind its length as it is.
	Payloads bool
}

// New returns the framing by a number of size bytes, of which the first is the highest with big.
func New(size int, big bool, limit int) Prefix {
	return Prefix{Size: size, Max: limit, Bytes: -1, shift: uint8(64 - 8*size), big: big}
}

// Cut returns the payload of the frame at the beginning of src, and the length of the frame. It is 0 where src has no
// whole frame that may be as long, and where it cannot be told in one look, with fewer than 8 bytes: [Prefix.Length]
// tells more.
func (p *Prefix) Cut(src []byte) (payload []byte, n int) {
	if len(src) < 8 {
		return nil, 0
	}
	length := p.length(binary.LittleEndian.Uint64(src))
	if length > uint64(p.Max) || length > uint64(len(src)-p.Size) {
		return nil, 0
	}
	n = p.Size + int(length)
	return src[p.Size:n:n], n
}

// Length reads the length of the payload from a src of Size bytes or more.
func (p *Prefix) Length(src []byte) uint64 {
	var head [8]byte
	copy(head[:], src[:p.Size])
	return p.length(binary.LittleEndian.Uint64(head[:]))
}

// length is that of a frame that begins with these bytes, the first one lowest.
func (p *Prefix) length(head uint64) uint64 {
	if p.big {
		return bits.ReverseBytes64(head) >> (p.shift & 63)
	}
	return head << (p.shift & 63) >> (p.shift & 63)
}

// Header returns what a frame of n bytes of payload, Max at most, begins with: size bytes, the first one lowest.
func (p *Prefix) Header(n int) (head uint64, size int) {
	switch {
	case p.first != 0:
		return p.webSocketHeader(n)
	case p.big:
		return bits.ReverseBytes64(uint64(n)) >> (p.shift & 63), p.Size
	}
	return uint64(n), p.Size
}
