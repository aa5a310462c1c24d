package gogotest

import (
	"bytes"
	"compress/gzip"
	"io"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/gogo/protobuf/proto"
	"github.com/gogo/protobuf/protoc-gen-gogo/descriptor"
	_ "github.com/gogo/protobuf/test"
	_ "github.com/gogo/protobuf/test/casttype/combos/neither"
	_ "github.com/gogo/protobuf/test/castvalue"
	_ "github.com/gogo/protobuf/test/group"
	_ "github.com/gogo/protobuf/test/mapsproto2/combos/neither"
	_ "github.com/gogo/protobuf/test/nopackage"
	_ "github.com/gogo/protobuf/test/oneof/combos/neither"
	_ "github.com/gogo/protobuf/test/packed"
	_ "github.com/gogo/protobuf/test/required"
	_ "github.com/gogo/protobuf/test/stdtypes"

	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/libnettest"
)

func TestMain(m *testing.M) { libnettest.VerifyMain(m) }

var files = []string{
	"thetest.proto", "combos/neither/casttype.proto", "castvalue.proto", "group.proto", "combos/neither/mapsproto2.proto", "nopackage.proto",
	"combos/neither/one.proto", "packed.proto", "requiredexample.proto", "stdtypes.proto",
}

// messages returns the types of all messages in files.
func messages(t *testing.T) (all []reflect.Type) {
	t.Helper()
	for _, name := range files {
		unpacked, err := gzip.NewReader(bytes.NewReader(proto.FileDescriptor(name)))
		if err != nil {
			t.Fatal(name, err)
		}
		text, err := io.ReadAll(unpacked)
		if err != nil {
			t.Fatal(name, err)
		}
		var file descriptor.FileDescriptorProto
		if err := proto.Unmarshal(text, &file); err != nil {
			t.Fatal(name, err)
		}
		prefix := ""
		if file.GetPackage() != "" {
			prefix = file.GetPackage() + "."
		}
		for _, m := range file.MessageType {
			all = append(all, proto.MessageType(prefix+m.GetName()))
		}
	}
	return all
}

func wrappers(t reflect.Type) (all []reflect.Type) {
	m, ok := reflect.Zero(t).Interface().(interface{ XXX_OneofWrappers() []any })
	if !ok {
		return nil
	}
	for _, w := range m.XXX_OneofWrappers() {
		all = append(all, reflect.TypeOf(w))
	}
	return all
}

// Among these are fields by value, customtype, casttype, castvalue, stdtime, stdduration, embedded messages,
// unions, extensions, groups, oneofs and fields that are required.
func TestProtoEncodesGogosMessagesAsGogoDoes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	encoded, refused := 0, 0
	for _, message := range messages(t) {
		for i := range 50 {
			m := reflect.New(message.Elem())
			if i > 0 {
				filler{r, wrappers(message)}.fill(m.Elem(), 4)
			}
			msg := m.Interface().(proto.Message)
			want, wantErr := proto.Marshal(msg)
			got, err := codec.Proto.AppendMarshal([]byte("before"), msg)
			if (err == nil) != (wantErr == nil) {
				t.Errorf("%v: %v, from gogo %v", message, err, wantErr)
			} else if err == nil && string(got) != "before"+string(want) {
				t.Errorf("%v: %d bytes, from gogo %d", message, len(got)-len("before"), len(want))
			}
			if err == nil {
				encoded++
			} else {
				refused++
			}
		}
	}
	if encoded < 2000 || refused == 0 {
		t.Errorf("%d messages were encoded, %d refused", encoded, refused)
	}
}
