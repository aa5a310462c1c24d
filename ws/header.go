package ws

import (
	"encoding/binary"
	"io"
)

// A header is a WebSocket frame's (RFC 6455, 5.2).
type header struct {
	first  byte // finBit, reservedBits and the opcode
	masked bool
	key    uint32 // mask4's
	length int64
}

func (h header) fin() bool    { return h.first&finBit != 0 }
func (h header) opcode() byte { return h.first & opcodeBits }

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
	if err = r.check(h, second&lengthBits); err != nil {
		return h, err
	}
	if h.length, err = r.readLength(second & lengthBits); err != nil || !h.masked {
		return h, err
	}
	key := r.scratch[:4]
	_, err = io.ReadFull(r.from, key)
	h.key = binary.LittleEndian.Uint32(key)
	return h, err
}

func (r *receiver) check(h header, length byte) error {
	switch op := h.opcode(); {
	case h.first&reservedBits != 0:
		return malformed("a frame with a reserved bit")
	case h.masked && r.link.client:
		return malformed("a server's frame that is masked")
	case !h.masked && !r.link.client:
		return malformed("a client's frame that is not masked")
	case op > opPong, op > opBinary && op < opClose:
		return malformed("a frame with an unknown opcode")
	case op >= opClose && !h.fin():
		return malformed("a control frame in fragments")
	case op >= opClose && length > maxControlPayload:
		return malformed("a control frame over 125 bytes")
	case op == opContinuation && !r.fragmented:
		return malformed("a fragment of no message")
	case op != opContinuation && op < opClose && r.fragmented:
		return malformed("a message among another's fragments")
	}
	return nil
}

func (r *receiver) readLength(length byte) (int64, error) {
	switch length {
	case lengthIn16:
		b := r.scratch[:2]
		_, err := io.ReadFull(r.from, b)
		return int64(binary.BigEndian.Uint16(b)), err
	case lengthIn64:
		b := r.scratch[:8]
		_, err := io.ReadFull(r.from, b)
		if err == nil && b[0]&0x80 != 0 {
			err = malformed("a frame whose length has its highest bit set")
		}
		return int64(binary.BigEndian.Uint64(b)), err
	}
	return int64(length), nil
}
