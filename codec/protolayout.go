package codec

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/runtime/protoimpl"
)

// protoLayout looks through the types of which a message is made, for what protobuf-go would overlook or
// take for something else. protobuf-go believes what a generated type's descriptor says and reads the
// struct's memory accordingly, so a type must have the form that Google's generator gives it.
type protoLayout struct {
	seen    map[reflect.Type]bool
	foreign bool   // something in it is no message of protobuf-go's own
	problem string // what was found first
}

func newProtoLayout() *protoLayout { return &protoLayout{seen: make(map[reflect.Type]bool)} }

// walk reports whether protobuf-go can be trusted with messages of type t.
func (l *protoLayout) walk(t reflect.Type) bool {
	switch {
	case l.seen[t]:
		return true
	case implements[proto.Message](t):
		l.seen[t] = true
		return l.walkNew(t)
	}
	l.seen[t] = true
	l.foreign = true
	if t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		return l.refuse(t, "is no pointer to a struct")
	}
	return l.walkOld(t)
}

func (l *protoLayout) refuse(what any, why string) bool {
	l.problem = fmt.Sprintf("%v %s", what, why)
	return false
}

// walkNew looks for older messages in one that protobuf-go generated.
func (l *protoLayout) walkNew(t reflect.Type) bool {
	info := messageInfo(t)
	if info == nil {
		return l.walkFields(t, nil)
	}
	for _, wrapper := range info.OneofWrappers {
		if !l.walkFields(reflect.TypeOf(wrapper), nil) {
			return false
		}
	}
	return l.walkFields(t, info.GoReflectType)
}

// walkFields knows, if it is not nil, for which type the message was generated: another one than t is embedded
// in t, and encoded alone.
func (l *protoLayout) walkFields(t, generated reflect.Type) bool {
	fields := t
	if t.Kind() == reflect.Pointer {
		fields = t.Elem()
	}
	if fields.Kind() != reflect.Struct {
		return true
	}
	for i := range fields.NumField() {
		f := fields.Field(i)
		_, tagged := f.Tag.Lookup("protobuf")
		if tagged && generated != nil && generated != t {
			return l.refuse(t, besideEmbedded(f.Name))
		}
		if m := messageOf(f.Type); m != nil && !l.walkPart(m) {
			return false
		}
	}
	return true
}

// messageOf returns the type of message that a field of type t holds, perhaps many times, or nil.
func messageOf(t reflect.Type) reflect.Type {
	for range maxPointers {
		switch kind := t.Kind(); {
		case kind == reflect.Pointer && isMessage(t):
			return t
		case kind == reflect.Pointer, kind == reflect.Slice, kind == reflect.Map:
			t = t.Elem()
		}
	}
	return nil
}

func isMessage(t reflect.Type) bool {
	return implements[proto.Message](t) || implements[protoadapt.MessageV1](t)
}

// walkPart is walk for a message within another. Of those that it does not know, protobuf-go asks those that
// have one for their Marshal method.
func (l *protoLayout) walkPart(t reflect.Type) bool {
	if !implements[proto.Message](t) && implements[oldMarshaler](t) {
		l.foreign = true
		field, lost := lostBeside(t, byMarshal.method())
		return !lost || l.refuse(t, besideEmbedded(field))
	}
	return l.walk(t)
}

// walkOld looks through the fields of a struct that protobuf-go has not generated.
func (l *protoLayout) walkOld(t reflect.Type) bool {
	for i := range t.Elem().NumField() {
		if !l.walkField(t, t.Elem().Field(i)) {
			return false
		}
	}
	return true
}

func (l *protoLayout) walkField(t reflect.Type, f reflect.StructField) bool {
	tag, tagged := f.Tag.Lookup("protobuf")
	_, oneof := f.Tag.Lookup("protobuf_oneof")
	switch {
	case f.Name == "XXX_unrecognized":
		return f.Type == reflect.TypeFor[[]byte]() || l.refuse(t, "keeps unknown fields in another type than []byte")
	case f.Name == "XXX_InternalExtensions" || f.Name == "XXX_extensions":
		return f.Type == reflect.TypeFor[protoimpl.ExtensionFields]() || l.refuse(t, "has extensions of another package")
	case strings.HasPrefix(f.Name, "XXX_") || tag == "-" || f.Tag.Get("json") == "-" && !tagged && !oneof:
		return true
	case oneof:
		return l.walkOneof(t, f)
	case tagged:
		return l.walkTagged(t, f)
	}
	return !f.IsExported() || l.refuse(t, "has a field without a protobuf tag: "+f.Name)
}

// walkOneof finds the types of a oneof's members where protobuf-go does.
func (l *protoLayout) walkOneof(t reflect.Type, f reflect.StructField) bool {
	members := 0
	for _, wrapper := range oneofWrappers(t) {
		w := reflect.TypeOf(wrapper)
		if f.Type.Kind() != reflect.Interface || !w.Implements(f.Type) {
			continue
		}
		members++
		member := w.Elem().Field(0)
		if tag, ok := parseTag(member.Tag.Get("protobuf")); !ok || !l.walkValue(member.Type, tag) {
			return l.refuseField(t, member)
		}
	}
	return members > 0 || l.refuseField(t, f)
}

func oneofWrappers(t reflect.Type) (wrappers []any) {
	for _, name := range []string{"XXX_OneofFuncs", "XXX_OneofWrappers"} {
		method, ok := t.MethodByName(name)
		if !ok {
			continue
		}
		for _, result := range method.Func.Call([]reflect.Value{reflect.Zero(t)}) {
			if list, ok := result.Interface().([]any); ok {
				wrappers = list
			}
		}
	}
	return wrappers
}

func (l *protoLayout) refuseField(t reflect.Type, f reflect.StructField) bool {
	if l.problem != "" {
		return false // within the field
	}
	return l.refuse(t, fmt.Sprintf("has a field %s of type %v with the tag %q", f.Name, f.Type, f.Tag))
}

func (l *protoLayout) walkTagged(t reflect.Type, f reflect.StructField) bool {
	tag, ok := parseTag(f.Tag.Get("protobuf"))
	if !ok || !l.fits(t, f, tag) {
		return l.refuseField(t, f)
	}
	return true
}

// fits reports whether protobuf-go reads a field of this type as its tag says.
func (l *protoLayout) fits(t reflect.Type, f reflect.StructField, tag protoTag) bool {
	switch kind := f.Type.Kind(); {
	case kind == reflect.Map:
		key, ok1 := parseTag(f.Tag.Get("protobuf_key"))
		value, ok2 := parseTag(f.Tag.Get("protobuf_val"))
		return ok1 && ok2 && tag.repeated && tag.wire == "bytes" && key.isScalar(f.Type.Key()) && l.walkValue(f.Type.Elem(), value)
	case tag.repeated:
		return kind == reflect.Slice && l.walkValue(f.Type.Elem(), tag)
	case kind == reflect.Pointer && f.Type.Elem().Kind() != reflect.Struct:
		return tag.isScalar(f.Type.Elem())
	case kind == reflect.Pointer, kind == reflect.Slice:
		return l.walkValue(f.Type, tag)
	}
	// A zero by value is not sent. That it is not there must mean the same.
	_, described := t.MethodByName("Descriptor")
	return tag.isScalar(f.Type) && (tag.proto3 || !tag.required && !tag.hasDefault && !described)
}

// walkValue reports whether a field, an element, or the member of a oneof may be of type t.
func (l *protoLayout) walkValue(t reflect.Type, tag protoTag) bool {
	switch {
	case t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct:
		return (tag.wire == "bytes" || tag.wire == "group") && l.walkPart(t)
	case t.Kind() == reflect.Slice:
		return tag.wire == "bytes" && t.Elem() == reflect.TypeFor[byte]()
	}
	return tag.isScalar(t)
}

// protoTag is what a struct tag says of a field.
type protoTag struct {
	wire                                   string
	required, repeated, proto3, hasDefault bool
}

// parseTag understands what Google's generator writes, and nothing that others add to it.
func parseTag(text string) (tag protoTag, ok bool) {
	wire, rest, _ := strings.Cut(text, ",")
	number, rest, _ := strings.Cut(rest, ",")
	if _, err := strconv.ParseUint(number, 10, 29); err != nil || scalarKinds[wire] == nil {
		return tag, false
	}
	tag.wire = wire
	for part := ""; rest != ""; {
		part, rest, _ = strings.Cut(rest, ",")
		name, _, _ := strings.Cut(part, "=")
		switch name {
		case "opt", "packed", "name", "json", "enum", "oneof":
		case "req":
			tag.required = true
		case "rep":
			tag.repeated = true
		case "proto3":
			tag.proto3 = true
		case "def": // the last, and may contain commas
			tag.hasDefault = true
			return tag, true
		default:
			return tag, false
		}
	}
	return tag, true
}

// scalarKinds are the kinds of Go types that each encoding is for, but for []byte and messages.
var scalarKinds = map[string][]reflect.Kind{
	"varint":   {reflect.Bool, reflect.Int32, reflect.Int64, reflect.Uint32, reflect.Uint64},
	"zigzag32": {reflect.Int32},
	"zigzag64": {reflect.Int64},
	"fixed32":  {reflect.Int32, reflect.Uint32, reflect.Float32},
	"fixed64":  {reflect.Int64, reflect.Uint64, reflect.Float64},
	"bytes":    {reflect.String},
	"group":    {},
}

func (tag protoTag) isScalar(t reflect.Type) bool {
	return slices.Contains(scalarKinds[tag.wire], t.Kind())
}
