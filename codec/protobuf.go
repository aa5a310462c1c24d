package codec

import (
	"fmt"
	"io"
	"math"
	"reflect"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/libnet-go/libnet"
)

type protoMarshaler struct{}

// Proto takes Protocol Buffers messages: those generated for google.golang.org/protobuf and those
// generated for, or written by hand in the style of, the older github.com/golang/protobuf. They are
// encoded straight into the frame. A nil message, a nil pointer and a message that protobuf-go cannot
// marshal, such as one without a required field, are errors.
//
// The message must not be changed while it is being sent.
var Proto protoMarshaler

func (m protoMarshaler) AppendMarshal(dst []byte, msg any) ([]byte, error) {
	return m.appendMax(dst, msg, math.MaxInt)
}

func (protoMarshaler) appendMax(dst []byte, msg any, limit int) (out []byte, err error) {
	if msg == nil {
		return dst, errNil
	}
	// Before any of its methods is called: few of them expect a nil receiver.
	if v := reflect.ValueOf(msg); v.Kind() == reflect.Pointer && v.IsNil() {
		return dst, fmt.Errorf("%w: a nil %T", libnet.ErrEncode, msg)
	}
	switch m := msg.(type) {
	case proto.Message:
		// Not UseCachedSize after a Size of our own: it saves nothing, because MarshalAppend does
		// just that itself, and relies on a Size that belongs to somebody else's encoding.
		out, err = proto.MarshalOptions{}.MarshalAppend(dst, m)
		if len(out) == len(dst) && err == nil && !m.ProtoReflect().IsValid() {
			err = fmt.Errorf("%w: an invalid %T", libnet.ErrEncode, msg) // a nil that is no nil pointer
		}
	case protoadapt.MessageV1:
		out, err = appendV1(dst, m)
	default:
		return dst, fmt.Errorf("%w: %T is not a protobuf message", libnet.ErrEncode, msg)
	}
	switch {
	case err != nil:
		return dst, encodeError(err)
	case len(out)-len(dst) > limit:
		return dst, tooLarge(uint64(len(out)-len(dst)), limit)
	}
	return out, nil
}

// appendV1 encodes a message whose layout is derived by reflection from its struct tags. For a type
// that has only the methods of a message, and tags that make no sense, this panics.
func appendV1(dst []byte, m protoadapt.MessageV1) (out []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			out, err = dst, fmt.Errorf("%w: %T is not a protobuf message: %v", libnet.ErrEncode, m, p)
		}
	}()
	return proto.MarshalOptions{}.MarshalAppend(dst, protoadapt.MessageV2Of(m))
}

// ProtobufProtocol is the protocol of [Protobuf]. Its zero value is ready to use, and any goroutine
// may use it.
type ProtobufProtocol struct{}

var _ libnet.Protocol = (*ProtobufProtocol)(nil)

// Protobuf returns the original libnet's protocol: a length of 2 bytes, big-endian, then one
// protobuf message. On the wire and in its bounds it is New(Uint16BE, Proto), so a message has at
// most 65,535 bytes.
func Protobuf() *ProtobufProtocol { return &ProtobufProtocol{} }

// NewCodec is that of [Composed].
func (*ProtobufProtocol) NewCodec(rw io.ReadWriter) libnet.Codec { return protobuf.NewCodec(rw) }

// MaxMessage returns the same protocol with a bound, as [Composed.MaxMessage] does.
func (*ProtobufProtocol) MaxMessage(n int) *Composed { return protobuf.MaxMessage(n) }

var protobuf = New(Uint16BE, Proto)
