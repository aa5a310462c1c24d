package codec

import (
	"math/rand/v2"
	"reflect"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/runtime/protoimpl"
)

// protoEncoding is how [Proto] encodes the messages of a type. It never changes.
type protoEncoding struct {
	of        reflect.Type
	by        encoder
	embedded  int    // the field, of byEmbedded
	generated bool   // by ProtoReflect, and all of it is protobuf-go's
	refusal   string // why it is not encoded, of notEncoded
}

type encoder uint8

const (
	notEncoded     encoder = iota
	byProtoReflect         // by protobuf-go, whatever other methods there are
	bySizedMarshal
	byMarshal
	byMarshalVT
	byLayout   // by protobuf-go from its struct tags
	byEmbedded // as the message is encoded that it embeds
)

// encodings holds a *protoEncoding for each reflect.Type that was asked for. recentEncoding saves looking
// there, where most messages are of one type.
var (
	encodings      sync.Map
	recentEncoding atomic.Pointer[protoEncoding]
)

func findEncoding(t reflect.Type) *protoEncoding {
	found, ok := encodings.Load(t)
	if !ok {
		found, _ = encodings.LoadOrStore(t, newEncoding(t))
	}
	how := found.(*protoEncoding)
	if rand.Uint32()%64 == 0 { // seldom, so that processors do not take it from each other
		recentEncoding.Store(how)
	}
	return how
}

// newEncoding asks methods of the type, as protobuf-go will, for what a oneof may hold.
func newEncoding(t reflect.Type) (how *protoEncoding) {
	defer func() {
		if recover() != nil {
			how = &protoEncoding{of: t, refusal: "not encoded, for its methods panic"}
		}
	}()
	by := encodedBy(t)
	if by != byProtoReflect && by != byLayout {
		return &protoEncoding{of: t, by: by, refusal: "not a protobuf message"}
	}
	if field, ok := embeddedMessage(t); ok && by == byLayout {
		return &protoEncoding{of: t, by: byEmbedded, embedded: field}
	}
	l := newProtoLayout()
	if !l.walk(t) {
		return &protoEncoding{of: t, refusal: "not encoded, for it would lose data: " + l.problem}
	}
	return &protoEncoding{of: t, by: by, generated: !l.foreign && isGenerated(t)}
}

// embeddedMessage returns the field from which a struct has its XXX_Marshal, if that is all of the message.
func embeddedMessage(t reflect.Type) (field int, ok bool) {
	if !implements[sizedMarshaler](t) || t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		return 0, false
	}
	for i := range t.Elem().NumField() {
		f := t.Elem().Field(i)
		_, tagged := f.Tag.Lookup("protobuf")
		switch {
		case tagged:
			return 0, false
		case f.Anonymous && f.IsExported() && f.Type.Kind() == reflect.Pointer && implements[sizedMarshaler](f.Type):
			field, ok = i, true
		}
	}
	return field, ok
}

func encodedBy(t reflect.Type) encoder {
	switch {
	case implements[proto.Message](t):
		return byProtoReflect
	case implements[sizedMarshaler](t) && !mergesByProtobufGo(t):
		return bySizedMarshal
	case implements[sizedMarshaler](t):
		return byLayout
	case implements[oldMarshaler](t) && implements[protoadapt.MessageV1](t):
		return byMarshal
	case implements[vtMarshaler](t):
		return byMarshalVT
	case implements[protoadapt.MessageV1](t):
		return byLayout
	}
	return notEncoded
}

func implements[I any](t reflect.Type) bool { return t.Implements(reflect.TypeFor[I]()) }

// mergesByProtobufGo tells the messages that golang/protobuf 1.2 and 1.3 generated from those of gogo: the
// methods that these have in common belong to the package whose Message XXX_Merge takes. golang/protobuf's
// have become protobuf-go's, which XXX_Marshal asks for an encoding without a look at required fields.
func mergesByProtobufGo(t reflect.Type) bool {
	return implements[interface{ XXX_Merge(protoadapt.MessageV1) }](t)
}

// isGenerated reports whether t's ProtoReflect is its own, and so cannot panic.
func isGenerated(t reflect.Type) bool {
	info := messageInfo(t)
	return info != nil && info.GoReflectType == t
}

// messageInfo is protobuf-go's of a generated message, else nil.
func messageInfo(t reflect.Type) (info *protoimpl.MessageInfo) {
	defer func() {
		if recover() != nil {
			info = nil // ProtoReflect is that of a nil which t embeds
		}
	}()
	m := reflect.Zero(t)
	if t.Kind() == reflect.Pointer {
		m = reflect.New(t.Elem()) // so that what t embeds can be found
	}
	info, _ = m.Interface().(proto.Message).ProtoReflect().Type().(*protoimpl.MessageInfo)
	return info
}
