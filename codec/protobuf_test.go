package codec_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"

	//lint:ignore SA1019 it is what the messages of 2017 were made for, and the reference for their bytes
	oldproto "github.com/golang/protobuf/proto"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
)

// These have the form that protoc-gen-go gave its output in 2017: struct tags and three methods,
// with nothing that a later runtime could look up.
type (
	legacyMessage struct {
		Cmd              *uint32           `protobuf:"varint,1,req,name=cmd" json:"cmd,omitempty"`
		Text             *string           `protobuf:"bytes,2,opt,name=text" json:"text,omitempty"`
		Body             []byte            `protobuf:"bytes,3,opt,name=body" json:"body,omitempty"`
		Ids              []int64           `protobuf:"varint,4,rep,packed,name=ids" json:"ids,omitempty"`
		Parts            []*legacyPart     `protobuf:"bytes,5,rep,name=parts" json:"parts,omitempty"`
		Tags             map[string]string `protobuf:"bytes,6,rep,name=tags" json:"tags,omitempty" protobuf_key:"bytes,1,opt,name=key" protobuf_val:"bytes,2,opt,name=value"`
		XXX_unrecognized []byte            `json:"-"`
	}
	legacyPart struct {
		Ratio float64     `protobuf:"fixed64,1,opt,name=ratio,proto3" json:"ratio,omitempty"`
		Sign  int32       `protobuf:"zigzag32,2,opt,name=sign,proto3" json:"sign,omitempty"`
		Ok    bool        `protobuf:"varint,3,opt,name=ok,proto3" json:"ok,omitempty"`
		Inner *legacyPart `protobuf:"bytes,4,opt,name=inner,proto3" json:"inner,omitempty"`
	}
)

func (m *legacyMessage) Reset()         { *m = legacyMessage{} }
func (m *legacyMessage) String() string { return fmt.Sprintf("legacy message %p", m) }
func (*legacyMessage) ProtoMessage()    {}

func (m *legacyPart) Reset()         { *m = legacyPart{} }
func (m *legacyPart) String() string { return fmt.Sprintf("legacy part %p", m) }
func (*legacyPart) ProtoMessage()    {}

func legacyMessages() []*legacyMessage {
	cmd := proto.Uint32(7)
	return []*legacyMessage{
		{},
		{Cmd: cmd},
		{Cmd: proto.Uint32(1 << 31), Text: proto.String("grüezi"), Body: []byte{0, 1, 2}},
		{Cmd: cmd, Text: proto.String(""), Body: []byte{}},
		{Cmd: cmd, Ids: []int64{-1, 0, 1 << 60}, Tags: map[string]string{"only": "one"}},
		{Cmd: cmd, Parts: []*legacyPart{{}, {Ratio: 0.5, Sign: -3, Ok: true, Inner: &legacyPart{Inner: &legacyPart{Sign: 1}}}}},
		{Cmd: cmd, Body: bytes.Repeat([]byte("long"), 5000), XXX_unrecognized: []byte{0x98, 0x06, 0x2a}},
	}
}

func TestProtobufWritesTheBytesOfTheOlderPackageBehindTwoBytesOfLength(t *testing.T) {
	c := pure(codec.Protobuf())
	for i, msg := range legacyMessages() {
		body, err := oldproto.Marshal(msg)
		if err != nil {
			t.Fatal(err)
		}
		want := append(binary.BigEndian.AppendUint16([]byte("before"), uint16(len(body))), body...)
		frame := mustAppend(t, c, []byte("before"), msg)
		if !bytes.Equal(frame, want) {
			t.Errorf("message %d:\n got %x\nwant %x", i, frame, want)
		}
		payload, _, err := c.ParseFrame(frame[len("before"):])
		if err != nil {
			t.Fatal(err)
		}
		var back legacyMessage
		if err := oldproto.Unmarshal(payload, &back); err != nil || !oldproto.Equal(&back, msg) {
			t.Errorf("message %d came back as %+v, %v", i, &back, err)
		}
	}
}

func TestProtobufIsUint16BEWithProto(t *testing.T) {
	msg := durationpb.New(1234567890)
	want := mustAppend(t, pure(codec.New(codec.Uint16BE, codec.Proto)), nil, msg)
	for name, protocol := range map[string]libnet.Protocol{
		"Protobuf()":             codec.Protobuf(),
		"zero ProtobufProtocol":  &codec.ProtobufProtocol{},
		"Protobuf().MaxMessage":  codec.Protobuf().MaxMessage(100),
		"as the article uses it": libnet.ProtocolFunc(codec.Protobuf().NewCodec),
	} {
		if got := mustAppend(t, pure(protocol), nil, msg); !bytes.Equal(got, want) {
			t.Errorf("%s: %x, want %x", name, got, want)
		}
	}
	large := &anypb.Any{Value: make([]byte, 65535)}
	_, err := pure(codec.Protobuf()).AppendFrame(nil, large)
	wantError(t, "over 65,535 bytes", err, libnet.ErrFrameTooLarge)
	_, err = pure(codec.Protobuf().MaxMessage(2)).AppendFrame(nil, msg)
	wantError(t, "over the bound", err, libnet.ErrFrameTooLarge)
}

type (
	// wrapped has the methods of a message from what it embeds, and no receiver that may be nil.
	wrapped struct{ *durationpb.Duration }
	// wrongTag has the methods of a message of 2017, and a field that cannot be one.
	wrongTag struct {
		C chan int `protobuf:"bytes,1,opt,name=c"`
	}
	// wrongType has them, and protobuf-go panics when it derives its layout.
	wrongType struct {
		S string `protobuf:"varint,1,opt,name=s"`
	}
	// stringMessage has them as well, and is no struct.
	stringMessage string
)

func (*wrongTag) Reset()         {}
func (*wrongTag) String() string { return "" }
func (*wrongTag) ProtoMessage()  {}

func (*wrongType) Reset()         {}
func (*wrongType) String() string { return "" }
func (*wrongType) ProtoMessage()  {}

func (stringMessage) Reset()         {}
func (stringMessage) String() string { return "" }
func (stringMessage) ProtoMessage()  {}

// K5: a message of the wrong type panicked, and ended the process when it was queued.
func TestK5NoMessageMakesProtoPanic(t *testing.T) {
	c := pure(codec.Protobuf())
	for name, msg := range map[string]any{
		"nil":                   nil,
		"nil of today":          (*durationpb.Duration)(nil),
		"nil of 2017":           (*legacyMessage)(nil),
		"nil of an embedder":    (*wrapped)(nil),
		"embedded nil":          wrapped{},
		"nil interface inside":  proto.Message((*anypb.Any)(nil)),
		"dynamic zero":          dynamicpb.NewMessageType((&durationpb.Duration{}).ProtoReflect().Descriptor()).Zero().Interface(),
		"bytes":                 []byte("bytes"),
		"a struct, no pointer":  struct{ A int }{1},
		"required unset":        &descriptorpb.UninterpretedOption_NamePart{},
		"invalid UTF-8":         &anypb.Any{TypeUrl: "\xff"},
		"a tag without sense":   &wrongTag{make(chan int)},
		"a tag of another type": &wrongType{"text"},
	} {
		if frame, err := c.AppendFrame([]byte("before"), msg); !errors.Is(err, libnet.ErrEncode) || string(frame) != "before" {
			t.Errorf("%s: %q, %v", name, frame, err)
		}
	}
	for name, msg := range map[string]any{"embedder": wrapped{durationpb.New(1)}, "no struct": stringMessage("")} {
		if _, err := c.AppendFrame(nil, msg); err != nil && !errors.Is(err, libnet.ErrEncode) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A message's size is kept inside the message. Encoding it from several goroutines, as broadcasts
// do, must neither race on it nor believe the size of an earlier state.
func TestProtoEncodesAMessageThatHasGrownSinceTheLastTime(t *testing.T) {
	c := pure(codec.New(codec.Uvarint, codec.Proto))
	nested := func(n int) *descriptorpb.FileDescriptorProto {
		return &descriptorpb.FileDescriptorProto{MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String(string(make([]byte, n)))}}}
	}
	msg := nested(1)
	for _, n := range []int{1, 200, 3, 20000, 0} {
		msg.MessageType[0].Name = nested(n).MessageType[0].Name
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				frame, err := c.AppendFrame(nil, msg)
				if err != nil {
					t.Error(err)
					return
				}
				payload, _, err := c.ParseFrame(frame)
				var back descriptorpb.FileDescriptorProto
				if err == nil {
					err = proto.Unmarshal(payload, &back)
				}
				if err != nil || !proto.Equal(&back, msg) {
					t.Errorf("with a name of %d bytes it came back otherwise: %v", n, err)
				}
			})
		}
		all.Wait()
	}
}
