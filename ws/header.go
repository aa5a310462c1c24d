package ws

import (
	"encoding/binary"
	"io"
)

// A header is a WebSocket frame's (RFC 6455, 5.2).
type header struct {
	first  byte // finBit, reservedBits and the opcode
	masked bool
	key    uint32 // of lengthprefix.Mask
	length int64
}

func (h header) fin() bool    { return h.first&finBit != 0 }
func (h header) opcode() byte { return h.first & opcodeBits }

// deflated holds for the first frame of a message that is compressed.
func (h header) deflated() bool { return h.first&deflatedBit != 0 }

// rules are what a receiver has to know of its connection to judge a header.
type rules struct {
	client     bool // it receives a server's frames
	fragmented bool // a message has begun
	deflates   bool // compression is agreed on
}

// readHeader refuses what no peer may send as soon as the bytes tell it: it waits for no more of such a frame.
func (r *receiver) readHeader() (h header, err error) {
	if h.first, err = r.from.ReadByte(); err != nil {
		return h, err
	}
	r.begun = r.begun || h.opcode() < opClose
	second, err := r.from.ReadByte()
	if err != nil {
		return h, err
	}
	h.masked = second&maskBit != 0
	if err = h.check(second&lengthBits, rules{r.link.client, r.fragmented, r.agreement.deflates}); err != nil {
		return h, err
	}
	if h.length, err = r.readLength(second & lengthBits); err != nil || !h.masked {
		return h, err
	}
	key := r.scratch[:keySize]
	_, err = io.ReadFull(r.from, key)
	h.key = binary.LittleEndian.Uint32(key)
	return h, err
}

func (r *receiver) readLength(length byte) (int64, error) {
	b := r.scratch[:lengthSize(length)]
	if _, err := io.ReadFull(r.from, b); err != nil {
		return 0, err
	}
	return parseLength(length, b)
}

// parseHeader reads the header of a client's frame at the start of src, and its size. At size 0 src ends within the
// header. It refuses what no client may send, and data of more than room bytes, or a compressed message's counterpart
// of that, as soon as the bytes tell it.
func parseHeader(src []byte, rules rules, room int) (h header, size int, err error) {
	if len(src) < 2 {
		return h, 0, nil
	}
	if first := src[0]; (first == finBit|opBinary || first == finBit|opText) && !rules.fragmented { // as most are
		if n := int(src[1]) - maskBit; n >= 0 && n < lengthIn16 && n <= room && len(src) >= 2+keySize {
			return header{first, true, binary.LittleEndian.Uint32(src[2:]), int64(n)}, 2 + keySize, nil
		}
	}
	h.first, h.masked = src[0], src[1]&maskBit != 0
	length := src[1] & lengthBits
	if err = h.check(length, rules); err != nil {
		return h, 0, err
	}
	size = 2 + lengthSize(length)
	if len(src) < size {
		return h, 0, nil
	}
	if h.length, err = parseLength(length, src[2:size]); err != nil {
		return h, 0, err
	}
	if h.deflated() {
		room = maxDeflated(room)
	}
	if h.opcode() < opClose && h.length > int64(room) {
		return h, 0, errTooLarge
	}
	if len(src) < size+keySize {
		return h, 0, nil
	}
	h.key = binary.LittleEndian.Uint32(src[size:])
	return h, size + keySize, nil
}

// check refuses a header of which all but the long length is known.
func (h header) check(length byte, rules rules) error {
	switch op := h.opcode(); {
	case h.deflated() && !(rules.deflates && (op == opText || op == opBinary)), h.first&(reservedBits&^deflatedBit) != 0:
		return malformed("a frame with a reserved bit")
	case h.masked && rules.client:
		return malformed("a server's frame that is masked")
	case !h.masked && !rules.client:
		return malformed("a client's frame that is not masked")
	case op > opPong, op > opBinary && op < opClose:
		return malformed("a frame with an unknown opcode")
	case op >= opClose && !h.fin():
		return malformed("a control frame in fragments")
	case op >= opClose && length > maxControlPayload:
		return malformed("a control frame over 125 bytes")
	case op == opContinuation && !rules.fragmented:
		return malformed("a fragment of no message")
	case op != opContinuation && op < opClose && rules.fragmented:
		return malformed("a message among another's fragments")
	}
	return nil
}

// lengthSize is how many bytes of length follow one in the second byte.
func lengthSize(length byte) int {
	switch length {
	case lengthIn16:
		return 2
	case lengthIn64:
		return 8
	}
	return 0
}

// parseLength returns the payload's length, of which b are the lengthSize bytes.
func parseLength(length byte, b []byte) (int64, error) {
	switch length {
	case lengthIn16:
		return int64(binary.BigEndian.Uint16(b)), nil
	case lengthIn64:
		if b[0]&0x80 != 0 {
			return 0, malformed("a frame whose length has its highest bit set")
		}
		return int64(binary.BigEndian.Uint64(b)), nil
	}
	return int64(length), nil
}
