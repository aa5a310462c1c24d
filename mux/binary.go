package mux

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/usercode"
)

// Binary returns the compact envelope: the kind's number as an unsigned varint, a second varint that is the id times
// four plus the [Role], and the body as p encodes it. A Failure's body is its code as a varint, and the text. A message
// without an id costs two bytes. Ids are at most 2^62 - 1. It panics without p.
func Binary(p Payload) Envelope {
	if usercode.IsMissing(p) {
		panic("libnet: mux: Binary without a Payload")
	}
	return &binaryEnvelope{p}
}

type binaryEnvelope struct{ payload Payload }

const (
	roleBits = 2
	roleMask = 1<<roleBits - 1

	maxBinaryID = math.MaxUint64 >> roleBits
)

func (e *binaryEnvelope) Append(dst []byte, h Header, body any) ([]byte, error) {
	n, err := kindNumber(h)
	if err != nil {
		return dst, err
	}
	if h.ID > maxBinaryID || h.Role > Failure {
		return dst, fmt.Errorf("%w: id %d, role %d: none of a message's", libnet.ErrEncode, h.ID, h.Role)
	}
	out := binary.AppendUvarint(dst, n)
	out = binary.AppendUvarint(out, h.ID<<roleBits|uint64(h.Role))
	if failure, ok := body.(*Error); ok && h.Role == Failure {
		return append(binary.AppendUvarint(out, uint64(failure.Code)), failure.Text...), nil
	}
	return appendBody(dst, out, e.payload, body)
}

// kindNumber is the number of a header's kind.
func kindNumber(h Header) (uint64, error) {
	if h.to != nil && h.to.hasNumber {
		return h.to.number, nil
	}
	n, ok := h.Kind.Number()
	if !ok {
		return 0, fmt.Errorf("%w: kind %q is no number", libnet.ErrEncode, h.Kind)
	}
	return n, nil
}

// appendBody appends a body to a message, and returns dst where that cannot be.
func appendBody(dst, message []byte, p Payload, body any) ([]byte, error) {
	if body == nil {
		return message, nil
	}
	out, err := p.AppendMarshal(message, body)
	if err != nil {
		return dst, err
	}
	return out, nil
}

func (*binaryEnvelope) Open(kinds *Kinds, msg []byte) (h Header, body []byte, ok bool) {
	kind, n := binary.Uvarint(msg)
	if n <= 0 {
		return h, nil, false
	}
	tag, m := binary.Uvarint(msg[n:])
	role := Role(tag & roleMask)
	if m <= 0 || role > Failure || role == Reply && tag>>roleBits == 0 {
		return h, nil, false
	}
	switch {
	case role == Ask:
		h = kinds.Numbered(kind)
	case role == Failure && tag>>roleBits == 0:
		h.Kind = kinds.Numbered(kind).Kind
	}
	h.Role, h.ID = role, tag>>roleBits
	return h, msg[n+m:], true
}

func (e *binaryEnvelope) Unmarshal(body []byte, into any) error {
	if failure, ok := into.(*Error); ok {
		code, n := binary.Uvarint(body)
		if n <= 0 || code > math.MaxUint32 {
			return ErrMalformed
		}
		failure.Code, failure.Text = uint32(code), string(body[n:])
		return nil
	}
	if len(body) == 0 {
		return nil // absent: the zero value
	}
	return e.payload.Unmarshal(body, into)
}
