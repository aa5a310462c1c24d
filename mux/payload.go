package mux

import (
	"encoding"
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
)

// A Payload encodes bodies, as a [codec.Marshaler] does messages, and decodes them into a pointer. It keeps neither
// argument, and may be called by any goroutine.
type Payload interface {
	codec.Marshaler
	Unmarshal(data []byte, into any) error
}

// The payloads that come with the package.
var (
	// JSONBody is encoding/json, with the rules of [codec.JSON].
	JSONBody Payload = jsonBody{}

	// ProtoBody is Protocol Buffers: encoding takes what [codec.Proto] takes, decoding messages of
	// google.golang.org/protobuf, and others with a method Unmarshal([]byte) error.
	ProtoBody Payload = protoBody{}

	// BinaryBody asks the bodies themselves, which are encoding.BinaryAppender and encoding.BinaryUnmarshaler.
	BinaryBody Payload = binaryBody{}
)

type jsonBody struct{}

func (jsonBody) AppendMarshal(dst []byte, body any) ([]byte, error) {
	return codec.JSON.AppendMarshal(dst, body)
}

func (jsonBody) Unmarshal(data []byte, into any) error { return json.Unmarshal(data, into) }

type protoBody struct{}

func (protoBody) AppendMarshal(dst []byte, body any) ([]byte, error) {
	return codec.Proto.AppendMarshal(dst, body)
}

func (protoBody) Unmarshal(data []byte, into any) error {
	switch m := into.(type) {
	case proto.Message:
		return proto.Unmarshal(data, m)
	case interface{ Unmarshal([]byte) error }:
		return m.Unmarshal(data)
	}
	return fmt.Errorf("libnet: mux: a %T is no protobuf message that can be decoded", into)
}

type binaryBody struct{}

func (binaryBody) AppendMarshal(dst []byte, body any) ([]byte, error) {
	if b, ok := body.(encoding.BinaryAppender); ok {
		return b.AppendBinary(dst)
	}
	return dst, fmt.Errorf("%w: a %T has no AppendBinary", libnet.ErrEncode, body)
}

func (binaryBody) Unmarshal(data []byte, into any) error {
	if b, ok := into.(encoding.BinaryUnmarshaler); ok {
		return b.UnmarshalBinary(data)
	}
	return fmt.Errorf("libnet: mux: a %T has no UnmarshalBinary", into)
}
