package codec

import (
	"fmt"
	"io"
	"math"
	"reflect"
	"runtime"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/inside"
)

type protoMarshaler struct{}

// Proto takes Protocol Buffers messages: those generated for google.golang.org/protobuf, and those
// generated for, or written by hand in the style of, the older github.com/golang/protobuf and its fork
// github.com/gogo/protobuf. They are encoded straight into the frame where that is possible.
//
// A message without a ProtoReflect method that has methods of its own to encode it is encoded by the first
// of XXX_Marshal (with XXX_Size), Marshal and MarshalVT, as golang/protobuf 1.3 did. One without any is
// encoded by protobuf-go, from its struct tags, if all of it has the form that Google's generator gives to a
// message; protobuf-go would leave out or confuse what has not, such as gogo's fields by value, so
// this is an error. A struct that has its methods from a message that it embeds is encoded as that message, and is an
// error where it has fields of its own beside that.
//
// A nil message, a nil pointer, and a message that cannot be marshalled, such as one without a field that its
// descriptor requires, are errors.
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
	t := reflect.TypeOf(msg)
	how := recentEncoding.Load()
	if how == nil || how.of != t {
		how = findEncoding(t)
	}
	switch {
	case how.generated:
		m := msg.(proto.Message)
		if out, err = (proto.MarshalOptions{}).MarshalAppend(dst, m); len(out) == len(dst) && err == nil {
			err = refuseInvalid(m)
		}
	case how.by == byLayout:
		out, err = appendOld(dst, msg)
	default:
		out, err = how.append(dst, msg, limit)
	}
	switch {
	case err != nil:
		return dst, foreignEncodeError(err)
	case len(out)-len(dst) > limit:
		return dst, tooLarge(uint64(len(out)-len(dst)), limit)
	}
	return out, nil
}

// appendNew encodes by protobuf-go. Not with UseCachedSize after a Size of our own: it saves nothing, because
// MarshalAppend does just that itself, and relies on a Size that belongs to somebody else's encoding.
func appendNew(dst []byte, m proto.Message) ([]byte, error) {
	out, err := proto.MarshalOptions{}.MarshalAppend(dst, m)
	if len(out) == len(dst) && err == nil {
		err = refuseInvalid(m)
	}
	return out, err
}

func refuseInvalid(m proto.Message) error {
	if m.ProtoReflect().IsValid() {
		return nil
	}
	return fmt.Errorf("%w: a nil %T", libnet.ErrEncode, m)
}

// The methods by which a message encodes itself, in the order in which they count.
type (
	sizedMarshaler interface {
		XXX_Size() int
		XXX_Marshal(b []byte, deterministic bool) ([]byte, error)
	}
	oldMarshaler interface{ Marshal() ([]byte, error) }
	vtMarshaler  interface{ MarshalVT() ([]byte, error) }
)

// append encodes a message whose methods are not protobuf-go's, so they may panic: for a nil where they
// expect none, or a type that only looks like a message.
func (how *protoEncoding) append(dst []byte, msg any, limit int) (out []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			out, err = dst, panicked(msg, p)
		}
	}()
	// Before any of its methods is called: few of them expect a nil receiver.
	if v := reflect.ValueOf(msg); v.Kind() == reflect.Pointer && v.IsNil() {
		return dst, fmt.Errorf("%w: a nil %T", libnet.ErrEncode, msg)
	}
	switch how.by {
	case byProtoReflect:
		return appendNew(dst, msg.(proto.Message))
	case bySizedMarshal:
		return appendSized(dst, msg.(sizedMarshaler), limit)
	case byMarshal:
		return appendWhole(dst, msg.(oldMarshaler).Marshal)
	case byMarshalVT:
		return appendWhole(dst, msg.(vtMarshaler).MarshalVT)
	case byEmbedded:
		return Proto.appendMax(dst, reflect.ValueOf(msg).Elem().Field(how.embedded).Interface(), limit)
	}
	return dst, fmt.Errorf("%w: %T is %s", libnet.ErrEncode, msg, how.refusal)
}

// appendOld encodes a message from its struct tags. That derives its layout at first, and may panic.
func appendOld(dst []byte, msg any) (out []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			out, err = dst, panicked(msg, p)
		}
	}()
	if v := reflect.ValueOf(msg); v.Kind() == reflect.Pointer && v.IsNil() {
		return dst, fmt.Errorf("%w: a nil %T", libnet.ErrEncode, msg)
	}
	return proto.MarshalOptions{}.MarshalAppend(dst, protoadapt.MessageV2Of(msg.(protoadapt.MessageV1)))
}

func panicked(msg, p any) error {
	return fmt.Errorf("%w: %T cannot be encoded: a panic of %T: %s", libnet.ErrEncode, msg, p, textOf(p))
}

// textOf is what a panic says, if it can be asked without another.
func textOf(p any) string {
	switch p := p.(type) {
	case string:
		return p
	case runtime.Error:
		return p.Error()
	}
	return "?"
}

// appendSized gives XXX_Marshal exactly the room it asks for: gogo's fills it from its end.
func appendSized(dst []byte, m sizedMarshaler, limit int) ([]byte, error) {
	size := m.XXX_Size()
	if size > limit {
		return dst, tooLarge(uint64(size), limit)
	}
	room := slices.Grow(dst, size)
	body, err := m.XXX_Marshal(room[len(dst):len(dst):len(dst)+size], false)
	return append(room, body...), err
}

func appendWhole(dst []byte, marshal func() ([]byte, error)) ([]byte, error) {
	body, err := marshal()
	return append(dst, body...), err
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

// MakesAtOnce is that of [Composed].
func (*ProtobufProtocol) MakesAtOnce(of libnet.Protocol, _ inside.Call) bool {
	_, is := of.(*ProtobufProtocol)
	return is
}

// MaxMessage returns the same protocol with a bound, as [Composed.MaxMessage] does.
func (*ProtobufProtocol) MaxMessage(n int) *Composed { return protobuf.MaxMessage(n) }

var protobuf = New(Uint16BE, Proto)
