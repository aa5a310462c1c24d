package codec_test

//lint:file-ignore SA1019 golang/protobuf is what these messages were made for, and the reference for their bytes

import (
	"fmt"
	"sync"
	"testing"
	"time"

	oldproto "github.com/golang/protobuf/proto"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
)

// everyKind has what a message of Google's generator could have until 2020.
type (
	everyKind struct {
		I32              *int32                 `protobuf:"varint,1,req,name=i32,def=7" json:"i32,omitempty"`
		S64              *int64                 `protobuf:"zigzag64,2,opt,name=s64" json:"s64,omitempty"`
		F32              []float32              `protobuf:"fixed32,3,rep,packed,name=f32" json:"f32,omitempty"`
		Blobs            [][]byte               `protobuf:"bytes,4,rep,name=blobs" json:"blobs,omitempty"`
		Kind             *legacyEnum            `protobuf:"varint,5,opt,name=kind,enum=legacyEnum" json:"kind,omitempty"`
		Group            *legacyPart            `protobuf:"group,6,opt,name=Group,json=group" json:"group,omitempty"`
		Parts            map[uint32]*legacyPart `protobuf:"bytes,7,rep,name=parts" json:"parts,omitempty" protobuf_key:"varint,1,opt,name=key" protobuf_val:"bytes,2,opt,name=value"`
		Choice           everyChoice            `protobuf_oneof:"choice"`
		Today            *durationpb.Duration   `protobuf:"bytes,10,opt,name=today" json:"today,omitempty"`
		Comma            *string                `protobuf:"bytes,11,opt,name=comma,def=a,b=c" json:"comma,omitempty"`
		cached           int
		Cached           int `json:"-"`
		XXX_unrecognized []byte
		XXX_sizecache    int32
		XXX_NoUnkeyed    struct{}

		oldproto.XXX_InternalExtensions `json:"-"`
	}
	legacyEnum  int32
	everyChoice interface{ isEveryChoice() }
	everyText   struct {
		Text string `protobuf:"bytes,8,opt,name=text,oneof"`
	}
	everyPart struct {
		Part *legacyPart `protobuf:"bytes,9,opt,name=part,oneof"`
	}
)

func (m *everyKind) Reset()         { *m = everyKind{} }
func (m *everyKind) String() string { return "" }
func (*everyKind) ProtoMessage()    {}

func (*everyKind) XXX_OneofWrappers() []any { return []any{(*everyText)(nil), (*everyPart)(nil)} }
func (*everyText) isEveryChoice()           {}
func (*everyPart) isEveryChoice()           {}

func (*everyKind) ExtensionRangeArray() []oldproto.ExtensionRange {
	return []oldproto.ExtensionRange{{Start: 100, End: 200}}
}

var extension = &oldproto.ExtensionDesc{
	ExtendedType: (*everyKind)(nil), ExtensionType: (*legacyPart)(nil), Field: 150, Name: "part", Tag: "bytes,150,opt,name=part",
}

var registerPart = sync.OnceFunc(func() { oldproto.RegisterExtension(extension) })

func TestProtoEncodesEveryKindOfFieldOfAnOlderMessage(t *testing.T) {
	kind := legacyEnum(-3)
	registerPart()
	full := func(choice everyChoice) *everyKind {
		m := &everyKind{
			I32: proto.Int32(0), S64: proto.Int64(-1 << 62), F32: []float32{1, -2}, Blobs: [][]byte{{}, {1}},
			Kind: &kind, Group: &legacyPart{Sign: -1}, Parts: map[uint32]*legacyPart{3: {Ok: true}}, Choice: choice,
			Today: durationpb.New(5), Comma: proto.String(""), XXX_unrecognized: []byte{0x98, 0x06, 0x2a}, cached: 1, Cached: 2,
		}
		if err := oldproto.SetExtension(m, extension, &legacyPart{Ratio: 2}); err != nil {
			t.Fatal(err)
		}
		return m
	}
	for _, m := range []*everyKind{
		{I32: proto.Int32(1)},
		full(nil),
		full(&everyText{}),
		full(&everyText{"text"}),
		full(&everyPart{&legacyPart{Inner: &legacyPart{}}}),
	} {
		want, err := oldproto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := codec.Proto.AppendMarshal([]byte("before"), m)
		if err != nil || string(got) != "before"+string(want) {
			t.Errorf("%x, %v, want %x", got, err, want)
			continue
		}
		var back everyKind
		if err := oldproto.Unmarshal(got[len("before"):], &back); err != nil {
			t.Error(err)
		}
		if m.Group != nil { // what is not known by a registry is decoded when it is asked for
			if part, err := oldproto.GetExtension(&back, extension); err != nil || part.(*legacyPart).Ratio != 2 {
				t.Errorf("the extension came back as %v, %v", part, err)
			}
		}
		if !oldproto.Equal(m, &back) {
			t.Errorf("%v came back as %v", m, &back)
		}
	}
	_, err := codec.Proto.AppendMarshal(nil, &everyKind{S64: proto.Int64(1)})
	wantError(t, "without a required field", err, libnet.ErrEncode)
}

// Generated2019 is what golang/protobuf 1.3 generated: its own methods, which are protobuf-go's today.
type (
	Generated2019[T any] struct {
		Cmd   *uint32 `protobuf:"varint,1,req,name=cmd"`
		Inner *T      `protobuf:"bytes,2,opt,name=inner"`

		oldproto.XXX_InternalExtensions `json:"-"`
	}
	embedding2019 struct {
		*Generated2019[legacyPart]
		Seen time.Time
	}
)

var info2019 oldproto.InternalMessageInfo

func (m *Generated2019[T]) Reset()                          { *m = Generated2019[T]{} }
func (*Generated2019[T]) String() string                    { return "" }
func (*Generated2019[T]) ProtoMessage()                     {}
func (m *Generated2019[T]) XXX_Merge(from oldproto.Message) { info2019.Merge(m, from) }
func (m *Generated2019[T]) XXX_Size() int                   { return info2019.Size(m) }
func (m *Generated2019[T]) XXX_Marshal(b []byte, deterministic bool) ([]byte, error) {
	return info2019.Marshal(b, m, deterministic)
}

// ExtensionRangeArray has protobuf-go look for required fields, which it else does where there is a descriptor.
func (*Generated2019[T]) ExtensionRangeArray() []oldproto.ExtensionRange {
	return []oldproto.ExtensionRange{{Start: 100, End: 200}}
}

func TestProtoLooksForRequiredFieldsThatXXXMarshalDoesNotMiss(t *testing.T) {
	whole := &Generated2019[legacyPart]{Cmd: proto.Uint32(3), Inner: &legacyPart{Sign: 1}}
	for _, msg := range []any{whole, &embedding2019{Generated2019: whole}} {
		out, err := codec.Proto.AppendMarshal(nil, msg)
		if want := "\x08\x03\x12\x02\x10\x02"; string(out) != want || err != nil {
			t.Errorf("%T: %x, %v", msg, out, err)
		}
	}
	for _, msg := range []any{
		&Generated2019[legacyPart]{},
		&Generated2019[byValue]{Cmd: proto.Uint32(3), Inner: &byValue{Inner: legacyPart{Sign: 1}}},
		&embedding2019{},
		(*embedding2019)(nil),
	} {
		_, err := codec.Proto.AppendMarshal(nil, msg)
		wantError(t, fmt.Sprintf("%T", msg), err, libnet.ErrEncode)
	}
}
