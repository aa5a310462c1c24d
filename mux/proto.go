package mux

import (
	"bytes"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/libnet-go/libnet"
)

// Proto returns the envelope of protobuf messages whose field 1, a uint32, is the kind and which have no ids, as the
// clients of FishChatServer2 speak: an [OrderedEnvelope]. The body is the whole message, encoded by [ProtoBody]. Where
// it leaves field 1 unset, the kind is put before it; one that has another number there is an error.
//
// A Failure is a message of the kind errorKind with the code in field 2 and the text in field 3; FishChatServer2's is
// 90001. No handler gets messages of that kind. It panics for an errorKind of 0.
func Proto(errorKind uint32) OrderedEnvelope {
	if errorKind == 0 {
		panic("libnet: mux: Proto with an error kind of 0")
	}
	return &protoEnvelope{uint64(errorKind)}
}

type protoEnvelope struct{ errorKind uint64 }

// RepliesInOrder says that it is an [OrderedEnvelope].
func (*protoEnvelope) RepliesInOrder() {}

// The fields of a message's kind, and of a Failure.
const (
	kindField protowire.Number = 1
	codeField protowire.Number = 2
	textField protowire.Number = 3
)

func (e *protoEnvelope) Append(dst []byte, h Header, body any) ([]byte, error) {
	if failure, ok := body.(*Error); ok && h.Role == Failure {
		return e.appendFailure(dst, failure), nil
	}
	kind, err := kindNumber(h)
	if err != nil {
		return dst, err
	}
	if kind == 0 || kind == e.errorKind || kind > math.MaxUint32 {
		return dst, fmt.Errorf("%w: kind %d is none of a message's", libnet.ErrEncode, kind)
	}
	out, err := appendBody(dst, dst, ProtoBody, body)
	if err != nil {
		return dst, err
	}
	set, ok := protoKind(out[len(dst):])
	switch {
	case !ok || set != 0 && set != kind:
		return dst, fmt.Errorf("%w: a message of kind %d has %d in field 1", libnet.ErrEncode, kind, set)
	case set == 0:
		out = insertKind(out, len(dst), kind)
	}
	return out, nil
}

// insertKind puts the kind before the message that begins at start.
func insertKind(out []byte, start int, kind uint64) []byte {
	var head [16]byte
	field := protowire.AppendVarint(protowire.AppendTag(head[:0], kindField, protowire.VarintType), kind)
	out = append(out, field...)
	copy(out[start+len(field):], out[start:])
	copy(out[start:], field)
	return out
}

func (e *protoEnvelope) appendFailure(dst []byte, failure *Error) []byte {
	dst = protowire.AppendVarint(protowire.AppendTag(dst, kindField, protowire.VarintType), e.errorKind)
	if failure.Code != 0 {
		dst = protowire.AppendVarint(protowire.AppendTag(dst, codeField, protowire.VarintType), uint64(failure.Code))
	}
	if failure.Text != "" {
		text := bytes.ToValidUTF8([]byte(failure.Text), []byte("\uFFFD"))
		dst = protowire.AppendBytes(protowire.AppendTag(dst, textField, protowire.BytesType), text)
	}
	return dst
}

func (e *protoEnvelope) Open(kinds *Kinds, msg []byte) (h Header, body []byte, ok bool) {
	kind, ok := protoKind(msg)
	switch {
	case !ok || kind == 0:
		return h, nil, false
	case kind == e.errorKind:
		return Header{Role: Failure}, msg, true
	}
	return kinds.Numbered(kind), msg, true
}

func (*protoEnvelope) Unmarshal(body []byte, into any) error {
	if failure, ok := into.(*Error); ok {
		return parseFailure(body, failure)
	}
	return ProtoBody.Unmarshal(body, into)
}

// protoKind is field 1 of a message, 0 where it is not set; not ok says that this is no protobuf message. Who decodes
// the message takes the last of several, cuts it to 32 bits, and does not see a field 1 of another type: so does this.
func protoKind(msg []byte) (kind uint64, ok bool) {
	for len(msg) > 0 {
		field, t, value, n := nextField(msg)
		if n < 0 {
			return 0, false
		}
		if field == kindField && t == protowire.VarintType {
			v, _ := protowire.ConsumeVarint(value)
			kind = v & math.MaxUint32
		}
		msg = msg[n:]
	}
	return kind, true
}

func parseFailure(msg []byte, failure *Error) error {
	*failure = Error{}
	for len(msg) > 0 {
		field, t, value, n := nextField(msg)
		switch {
		case n < 0:
			return ErrMalformed
		case field == codeField && t == protowire.VarintType:
			code, _ := protowire.ConsumeVarint(value)
			failure.Code = uint32(code)
		case field == textField && t == protowire.BytesType:
			text, _ := protowire.ConsumeBytes(value)
			failure.Text = string(text)
		}
		msg = msg[n:]
	}
	return nil
}

// nextField takes a message's first field apart. n is its length, negative where there is none.
func nextField(msg []byte) (field protowire.Number, t protowire.Type, value []byte, n int) {
	field, t, tag := protowire.ConsumeTag(msg)
	if tag < 0 {
		return 0, 0, nil, tag
	}
	n = protowire.ConsumeFieldValue(field, t, msg[tag:])
	if n < 0 {
		return 0, 0, nil, n
	}
	return field, t, msg[tag : tag+n], tag + n
}
