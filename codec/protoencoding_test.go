package codec_test

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
)

// bare gives the methods of an older message to what embeds it, and no method that encodes.
type bare struct{}

func (*bare) Reset()         {}
func (*bare) String() string { return "" }
func (*bare) ProtoMessage()  {}

// Each of these has a field as gogo/protobuf generates it, or as nobody does, which protobuf-go would leave
// out or take for something else.
type (
	byValue struct {
		bare
		Inner legacyPart `protobuf:"bytes,1,opt,name=inner"`
	}
	manyByValue struct {
		bare
		Inner []legacyPart `protobuf:"bytes,1,rep,name=inner"`
	}
	mapOfValues struct {
		bare
		Inner map[string]legacyPart `protobuf:"bytes,1,rep,name=inner" protobuf_key:"bytes,1,opt,name=key" protobuf_val:"bytes,2,opt,name=value"`
	}
	embedding struct {
		*legacyPart `protobuf:"bytes,1,opt,name=inner,embedded=inner"`
	}
	embeddingUntagged struct {
		bare
		*LegacyEmbedded
	}
	// LegacyEmbedded is exported, as generated messages are.
	LegacyEmbedded legacyPart

	customType struct {
		bare
		ID ownBytes `protobuf:"bytes,1,opt,name=id,customtype=ownBytes"`
	}
	ownBytes []byte
	stdTime  struct {
		bare
		At *time.Time `protobuf:"bytes,1,opt,name=at,proto3,stdtime"`
	}
	stdDuration struct {
		bare
		For time.Duration `protobuf:"bytes,1,opt,name=for,proto3,stdduration"`
	}
	castType struct {
		bare
		N []ownInt `protobuf:"varint,1,rep,name=n,casttype=ownInt"`
	}
	ownInt       int32
	requiredHere struct {
		bare
		N int64 `protobuf:"varint,1,req,name=n"`
	}
	otherDefault struct {
		bare
		N int64 `protobuf:"varint,1,opt,name=n,def=5"`
	}
	foreignExtensions struct {
		bare
		XXX_InternalExtensions map[int32][]byte
	}
	foreignUnknown struct {
		bare
		XXX_unrecognized string
	}
	unknownOneof struct {
		bare
		Choice any `protobuf_oneof:"choice"`
	}
	untagged struct {
		bare
		Text string
	}
	arrayOfBytes struct {
		bare
		ID [16]byte `protobuf:"bytes,1,opt,name=id"`
	}
	noWireType struct {
		bare
		N int32 `protobuf:"1,opt,name=n"`
	}
	goInt struct {
		bare
		N int `protobuf:"varint,1,opt,name=n,proto3"`
	}
)

// Each of these has its method to encode itself from a message that it embeds, and another field beside that.
type (
	besideMarshal struct {
		*whole `protobuf:"bytes,1,opt,name=inner,embedded=inner"`
		Text   string `protobuf:"bytes,2,opt,name=text"`
	}
	besideMarshalVT struct {
		vt
		Text string `protobuf:"bytes,2,opt,name=text"`
	}
	besideSized struct {
		*sized
		Text string `protobuf:"bytes,2,opt,name=text"`
	}
	besideSizedByValue struct {
		sized
		Choice any `protobuf_oneof:"choice"`
	}
	besideAnything struct {
		bare
		oldMarshaler
		Text string `protobuf:"bytes,2,opt,name=text"`
	}
	oldMarshaler interface{ Marshal() ([]byte, error) }
)

func (*besideMarshal) Reset()         {}
func (*besideMarshal) String() string { return "" }
func (*besideMarshal) ProtoMessage()  {}

// Each of these embeds a message and encodes itself.
type (
	aroundWhole struct {
		*whole `protobuf:"bytes,1,opt,name=inner,embedded=inner"`
	}
	aroundVT struct {
		vt
		Text string `protobuf:"bytes,2,opt,name=text"`
	}
)

func (*aroundWhole) Marshal() ([]byte, error) { return []byte("own"), nil }
func (aroundVT) MarshalVT() ([]byte, error)   { return []byte("own"), nil }

// inside has another message in every place where one can be.
type (
	insideOne[T any] struct {
		bare
		Inner *T `protobuf:"bytes,1,opt,name=inner"`
	}
	insideMany[T any] struct {
		bare
		Inner []*T `protobuf:"group,1,rep,name=Inner"`
	}
	insideMap[T any] struct {
		bare
		Inner map[int32]*T `protobuf:"bytes,1,rep,name=inner" protobuf_key:"varint,1,opt,name=key" protobuf_val:"bytes,2,opt,name=value"`
	}
	insideOneof[T any] struct {
		bare
		Choice insideChoice `protobuf_oneof:"choice"`
	}
	insideChoice        interface{ choice() }
	insideMember[T any] struct {
		Inner *T `protobuf:"bytes,1,opt,name=inner,oneof"`
	}
	// insideNew is a message of today that holds an older one.
	insideNew[T any] struct {
		*durationpb.Duration
		Inner *T `protobuf:"bytes,1,opt,name=inner"`
	}
)

func (*insideMember[T]) choice() {}

func (*insideOneof[T]) XXX_OneofWrappers() []any { return []any{(*insideMember[T])(nil)} }

// everywhereInside returns m, and m within others.
func everywhereInside[T any](m *T) []any {
	return []any{
		m,
		&insideOne[T]{Inner: m},
		&insideMany[T]{Inner: []*T{m}},
		&insideMap[T]{Inner: map[int32]*T{0: m}},
		&insideOneof[T]{Choice: &insideMember[T]{Inner: m}},
		&insideNew[T]{Duration: durationpb.New(1), Inner: m},
		&insideNew[insideOne[T]]{Duration: durationpb.New(1), Inner: &insideOne[T]{Inner: m}},
	}
}

func TestProtoLosesNoFieldThatProtobufGoDoesNotSee(t *testing.T) {
	part := legacyPart{Sign: 5}
	now := time.Unix(1, 2)
	for _, msg := range slices.Concat(
		everywhereInside(&byValue{Inner: part}),
		everywhereInside(&manyByValue{Inner: []legacyPart{part}}),
		everywhereInside(&mapOfValues{Inner: map[string]legacyPart{"": part}}),
		everywhereInside(&embedding{legacyPart: &part}),
		everywhereInside(&embeddingUntagged{LegacyEmbedded: &LegacyEmbedded{Sign: 5}}),
		everywhereInside(&customType{ID: ownBytes("id")}),
		everywhereInside(&stdTime{At: &now}),
		everywhereInside(&stdDuration{For: time.Second}),
		everywhereInside(&castType{N: []ownInt{1}}),
		everywhereInside(&requiredHere{N: 1}),
		everywhereInside(&otherDefault{}),
		everywhereInside(&foreignExtensions{XXX_InternalExtensions: map[int32][]byte{1: {1}}}),
		everywhereInside(&foreignUnknown{XXX_unrecognized: "\x08\x01"}),
		everywhereInside(&unknownOneof{Choice: &part}),
		everywhereInside(&untagged{Text: "text"}),
		everywhereInside(&arrayOfBytes{ID: [16]byte{1}}),
		everywhereInside(&noWireType{N: 1}),
		everywhereInside(&goInt{N: 1}),
		everywhereInside(&besideMarshal{&whole{}, "text"}),
		everywhereInside(&besideSized{&sized{body: "by itself"}, "text"}),
		everywhereInside(&besideSizedByValue{sized{body: "by itself"}, "text"}),
		everywhereInside(&besideAnything{oldMarshaler: &whole{}, Text: "text"}),
		[]any{&besideMarshalVT{vt{}, "text"}, besideMarshalVT{vt{}, "text"}},
	) {
		for range 2 { // the second time from memory
			out, err := codec.Proto.AppendMarshal([]byte("before"), msg)
			if wantError(t, "lost", err, libnet.ErrEncode); string(out) != "before" {
				t.Errorf("%T: %q", msg, out)
			}
		}
	}
	for _, msg := range everywhereInside(&legacyPart{Sign: 5})[:5] {
		if _, err := codec.Proto.AppendMarshal(nil, msg); err != nil {
			t.Errorf("%T, of which nothing is lost: %v", msg, err)
		}
	}
}

// sized is what gogo/protobuf generates: XXX_Marshal fills all the room that it gets, from its end, and is right
// only if that is just what XXX_Size asked for.
type sized struct {
	bare
	body string
	size int // 0: that of body
	err  error
	Text customType
}

func (m *sized) XXX_Size() int {
	if m.size != 0 {
		return m.size
	}
	return len(m.body)
}

func (m *sized) XXX_Marshal(b []byte, _ bool) ([]byte, error) {
	b = b[:cap(b)]
	n := copy(b[len(b)-len(m.body):], m.body)
	return b[:n], m.err
}

func (*sized) Marshal() ([]byte, error)   { return []byte("Marshal"), nil }
func (*sized) MarshalVT() ([]byte, error) { return []byte("MarshalVT"), nil }

// whole has the methods that come after.
type whole struct {
	bare
	Text customType
	err  error
}

func (m *whole) Marshal() ([]byte, error) { return []byte("Marshal"), m.err }
func (*whole) MarshalVT() ([]byte, error) { return []byte("MarshalVT"), nil }

type vt struct{ body []byte }

func (m vt) MarshalVT() ([]byte, error) { return m.body, nil }

// stranger has a Marshal that need not be protobuf's.
type stranger struct{}

func (stranger) Marshal() ([]byte, error) { return []byte("Marshal"), nil }

type panicking struct{ bare }

func (*panicking) Marshal() ([]byte, error) { panic(errUser) }

// nilError is an error as a function returns it that meant to return none.
type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }
func (e *nilError) Is(error) bool { return e.text == "" }

func TestAMessagesOwnMethodsEncodeIt(t *testing.T) {
	for _, room := range []int{0, 3, 1000} {
		for want, msg := range map[string]any{
			"by itself": &sized{body: "by itself"},
			"":          &sized{},
			"Marshal":   &whole{},
			"vt":        vt{[]byte("vt")},
			"own":       &aroundWhole{},
			"embedded":  &struct{ *sized }{&sized{body: "embedded"}},
		} {
			dst := append(make([]byte, 0, len("before")+room), "before"...)
			out, err := codec.Proto.AppendMarshal(dst, msg)
			if string(out) != "before"+want || string(dst) != "before" || err != nil {
				t.Errorf("%T with room for %d: %q, %v", msg, room, out, err)
			}
		}
	}
	if out, err := codec.Proto.AppendMarshal(nil, &aroundVT{vt{}, ""}); string(out) != "own" || err != nil {
		t.Errorf("around another message, by value: %q, %v", out, err)
	}
	part := &whole{Text: customType{ID: ownBytes("id")}}
	out, err := codec.Proto.AppendMarshal(nil, &insideOne[whole]{Inner: part})
	if string(out) != "\x0a\x07Marshal" || err != nil {
		t.Errorf("within another message: %q, %v", out, err)
	}
}

func TestAMessagesOwnMethodsAreNotTrusted(t *testing.T) {
	var none *nilError
	for name, msg := range map[string]any{
		"an error":                 &sized{body: "half", err: errUser},
		"a nil as an error":        &sized{body: "half", err: none},
		"another nil as an error":  &whole{err: none},
		"a negative size":          &sized{size: -1},
		"no memory for its size":   &sized{size: math.MaxInt},
		"too small a size":         &sized{body: "body", size: 1},
		"a panic":                  &panicking{},
		"Marshal, but no message":  stranger{},
		"a nil":                    (*sized)(nil),
		"a nil within":             struct{ *sized }{},
		"a nil of today within":    struct{ proto.Message }{},
		"a nil pointer of today":   struct{ *anypb.Any }{},
		"a nil of 2017 within":     struct{ protoadapt.MessageV1 }{},
		"a slice":                  []*sized{},
		"a function":               (func())(nil),
		"a message, not a pointer": legacyPart{},
	} {
		out, err := codec.Proto.AppendMarshal([]byte("before"), msg)
		if wantError(t, name, err, libnet.ErrEncode); string(out) != "before" {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}
	c := pure(codec.New(codec.Uint32BE, codec.Proto).MaxMessage(1000))
	_, err := c.AppendFrame(nil, &sized{size: math.MaxInt})
	wantError(t, "a size over the bound", err, libnet.ErrFrameTooLarge)
	_, err = c.AppendFrame(nil, vt{make([]byte, 1001)})
	wantError(t, "a message over the bound", err, libnet.ErrFrameTooLarge)
	if _, err := codec.Proto.AppendMarshal(nil, &sized{err: errUser}); !errors.Is(err, errUser) {
		t.Errorf("the cause is gone: %v", err)
	}
}

func TestAMessageEncodedByItselfMayKeepItsBytes(t *testing.T) {
	kept := []byte("kept")
	frames, err := codec.New(codec.Uint8, codec.Proto).NewCodec(nil).(libnet.FrameAppender).AppendFrame(nil, vt{kept})
	if err != nil {
		t.Fatal(err)
	}
	kept[0] = 'X'
	if !bytes.Equal(frames, []byte("\x04kept")) {
		t.Errorf("%q", frames)
	}
}
