package codec_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"strings"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
)

// summed is a framing of 4 bytes of length, the payload and its checksum, which it appends to the payload.
type summed struct{}

func (summed) Max() int { return 1 << 20 }

func (summed) AppendFrame(dst, payload []byte) ([]byte, error) {
	body := binary.BigEndian.AppendUint32(payload, crc32.ChecksumIEEE(payload))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(body)))
	return append(dst, body...), nil
}

func (summed) ParseFrame(src []byte) ([]byte, int, error) {
	if len(src) < 4 {
		return nil, 0, nil
	}
	n := int(binary.BigEndian.Uint32(src))
	switch {
	case n < 4 || n > 1<<20:
		return nil, 0, libnet.ErrMalformedFrame
	case len(src) < 4+n:
		return nil, 0, nil
	case crc32.ChecksumIEEE(src[4:n]) != binary.BigEndian.Uint32(src[n:]):
		return nil, 0, libnet.ErrMalformedFrame
	}
	_ = append(src[:4+n], "scribbled over what follows"...)[0]
	return src[4:n], 4 + n, nil
}

// sealingSum is summed with everything optional.
type sealingSum struct{ summed }

func (sealingSum) Room() int { return 4 }

func (sealingSum) SealFrame(dst []byte, start int) ([]byte, error) {
	frame, err := summed{}.AppendFrame(nil, bytes.Clone(dst[start+4:]))
	return append(dst[:start], frame...), err
}

func (sealingSum) ParseFrameMax(src []byte, limit int) ([]byte, int, error) {
	return summed{}.ParseFrame(src)
}

func TestAFrameIsTheSameWhateverRoomThereIsBehindIt(t *testing.T) {
	all := append([]framingCase{{name: "summed", framing: summed{}}, {name: "sealing sum", framing: sealingSum{}}}, framings...)
	for _, framing := range all {
		for _, marshaler := range append([]marshalerCase{{"signed", signed{codec.Bytes}, marshalers[0].message}}, marshalers...) {
			msg, _ := marshaler.message(5)
			c := pure(codec.New(framing.framing, marshaler.marshaler))
			want, err := c.AppendFrame(nil, msg)
			if err != nil {
				continue // the longer ones, of a fixed size
			}
			for room := range 80 {
				dst := append(make([]byte, 0, len("queued")+room), "queued"...)
				got, err := c.AppendFrame(dst, msg)
				if string(got) != "queued"+string(want) || string(dst) != "queued" || err != nil {
					t.Errorf("%s/%s with room for %d: %q, %v, want %q", framing.name, marshaler.name, room, got, err, want)
				}
			}
			if alone, err := framing.framing.AppendFrame(nil, []byte("12345")); marshaler.name == "Bytes" && (err != nil || len(alone) != len(want)) {
				t.Errorf("%s: alone %q, %v, with the codec %q", framing.name, alone, err, want)
			}
		}
	}
}

func TestAFramingCannotReachTheNextFrame(t *testing.T) {
	for _, framing := range []codec.Framing{summed{}, sealingSum{}} {
		c := pure(codec.New(framing, codec.Bytes))
		stream := mustAppend(t, c, mustAppend(t, c, nil, "first"), "second")
		got, n, err := c.ParseFrame(stream)
		if string(got) != "first" || cap(got) != len(got) || err != nil {
			t.Fatalf("%q of %d, %v", got, cap(got), err)
		}
		_ = append(got, "overwritten by the handler"...)
		if got, _, err := c.ParseFrame(stream[n:]); string(got) != "second" || err != nil {
			t.Errorf("the frame after it: %q, %v", got, err)
		}
	}
}

// astray is a framing and a marshaler that answers what it is told to, whatever it is asked.
type astray struct {
	userFraming
	answer func(dst []byte) ([]byte, error)
	room   int
}

func (a astray) AppendFrame(dst, _ []byte) ([]byte, error)       { return a.answer(dst) }
func (a astray) AppendMarshal(dst []byte, _ any) ([]byte, error) { return a.answer(dst) }

type sealingAstray struct{ astray }

func (a sealingAstray) Room() int                                   { return a.room }
func (a sealingAstray) SealFrame(dst []byte, _ int) ([]byte, error) { return a.answer(dst) }

// unsoundError has a method that panics, and so has what it panics with.
type unsoundError struct{ panics int }

func (e unsoundError) Error() string {
	if e.panics == 1 {
		panic(e)
	}
	return "unsound"
}

func (e unsoundError) String() string { panic(e) }

func (e unsoundError) Is(error) bool {
	if e.panics == 2 {
		panic(e)
	}
	return false
}

func TestWhatIsNotAppendedIsNotSent(t *testing.T) {
	var none *nilError
	for name, answer := range map[string]func(dst []byte) ([]byte, error){
		"nothing":                  func([]byte) ([]byte, error) { return nil, nil },
		"a part":                   func(dst []byte) ([]byte, error) { return dst[:len(dst)/8], nil },
		"only its own":             func([]byte) ([]byte, error) { return []byte(strings.Repeat("its own, and long ", 9)), nil },
		"its own in the place":     func(dst []byte) ([]byte, error) { return append(dst[:0], strings.Repeat("own ", 20)...), nil },
		"without the first byte":   func(dst []byte) ([]byte, error) { return append(dst[1:], "message"...), nil },
		"an error, and nothing":    func([]byte) ([]byte, error) { return nil, errUser },
		"an error, and the frame":  func(dst []byte) ([]byte, error) { return append(dst, "frame"...), errUser },
		"a nil as an error":        func(dst []byte) ([]byte, error) { return append(dst, "frame"...), none },
		"an error without a text":  func(dst []byte) ([]byte, error) { return dst, unsoundError{1} },
		"an error without a match": func(dst []byte) ([]byte, error) { return dst, unsoundError{2} },
	} {
		for kind, protocol := range map[string]*codec.Composed{
			"framing":            codec.New(astray{answer: answer}, codec.Bytes),
			"sealing framing":    codec.New(sealingAstray{astray{answer: answer}}, codec.Bytes),
			"marshaler, prefix":  codec.New(codec.Uint8, astray{answer: answer}),
			"marshaler, lines":   codec.New(codec.Lines, astray{answer: answer}),
			"marshaler, framing": codec.New(userFraming{}, astray{answer: answer}),
		} {
			for _, room := range []int{0, 200} {
				queued := append(make([]byte, 0, 32+room), strings.Repeat("earlier frames ", 2)...)
				before := string(queued)
				out, err := pure(protocol).AppendFrame(queued, "message")
				if !errors.Is(err, libnet.ErrEncode) || string(out) != before || string(queued) != before {
					t.Errorf("%s, %s: %q, %v", kind, name, out, err)
				}
				if text := fmt.Sprint(err); strings.Contains(text, "PANIC") || errors.Is(err, errNobody) {
					t.Errorf("%s, %s: %s", kind, name, text)
				}
			}
		}
	}
}

var errNobody = errors.New("nobody's")

func TestAFrameOfNoBytesIsNotSent(t *testing.T) {
	same := func(dst []byte) ([]byte, error) { return dst, nil }
	for _, framing := range []codec.Framing{astray{answer: same}} {
		_, err := pure(codec.New(framing, codec.Bytes)).AppendFrame(nil, "message")
		wantError(t, fmt.Sprintf("%T", framing), err, libnet.ErrEncode)
	}
}

func TestARoomWithoutSenseIsAnError(t *testing.T) {
	same := func(dst []byte) ([]byte, error) { return append(dst, "frame"...), nil }
	for _, room := range []int{-1, math.MinInt, 1 << 16, math.MaxInt} {
		protocol := codec.New(sealingAstray{astray{answer: same, room: room}}, codec.Bytes)
		_, err := pure(protocol).AppendFrame(nil, "message")
		wantError(t, fmt.Sprint(room), err, libnet.ErrEncode)
	}
}

func TestAnErrorOfAnotherFramingIsOneThatCanBeAsked(t *testing.T) {
	var none *nilError
	for _, cause := range []error{none, unsoundError{1}, unsoundError{2}} {
		c := codec.New(answering{err: cause}, codec.Bytes).NewCodec(reading(strings.NewReader("some bytes")))
		msg, err := c.Receive()
		if wantError(t, fmt.Sprintf("%T", cause), err, libnet.ErrMalformedFrame); msg != nil || errors.Is(err, errNobody) || err.Error() == "" {
			t.Errorf("%T: %q, %v", cause, msg, err)
		}
	}
}

// max is a framing of which only its Max counts.
type onlyMax struct {
	userFraming
	max int
}

func (m onlyMax) Max() int { return m.max }

func TestBoundsAtTheirExtremesNeitherOverflowNorLetMorePass(t *testing.T) {
	extremes := []int{math.MinInt, math.MinInt + 1, -1, 0, 1, 2, math.MaxInt32, math.MaxInt - 1, math.MaxInt}
	for _, most := range append(extremes[3:], 5) {
		for _, own := range extremes {
			for _, sessions := range extremes {
				for _, framing := range []codec.Framing{onlyMax{max: most}, codec.Uint64BE, codec.Uvarint, codec.Lines, codec.Delimiter("##"), codec.LengthField{Size: 8, Strip: 8}} {
					c := codec.New(framing, codec.Bytes).MaxMessage(own).NewCodec(limitedStream{reading(nil), sessions})
					bound := c.(interface{ MaxMessage() int }).MaxMessage()
					if bound < 0 || bound > framing.Max() || own > 0 && bound > own || sessions > 0 && bound > sessions {
						t.Fatalf("%T of %d, MaxMessage %d, Config.MaxMessage %d: %d", framing, framing.Max(), own, sessions, bound)
					}
					frame, err := c.(libnet.FrameAppender).AppendFrame(nil, "12")
					if bound >= 2 != (err == nil) || err != nil && !errors.Is(err, libnet.ErrFrameTooLarge) {
						t.Fatalf("%T bound to %d: %v", framing, bound, err)
					}
					if got, n, err := c.(libnet.FrameParser).ParseFrame(frame); len(frame) > 0 && (string(got) != "12" || n != len(frame) || err != nil) {
						t.Fatalf("%T bound to %d: %q, %d, %v", framing, bound, got, n, err)
					}
				}
			}
		}
	}
}

func TestAPointerToAFramingIsThatFraming(t *testing.T) {
	uint32BE, uvarint, lines := codec.Uint32BE, codec.Uvarint, codec.Lines
	for name, pair := range map[string][2]codec.Framing{
		"prefix":      {&uint32BE, codec.Uint32BE},
		"varint":      {&uvarint, codec.Uvarint},
		"lines":       {&lines, codec.Lines},
		"LengthField": {&codec.LengthField{Size: 4, Strip: 4}, codec.LengthField{Size: 4, Strip: 4}},
	} {
		pointer := codec.New(pair[0], codec.Bytes).MaxMessage(1000).NewCodec(nil)
		value := codec.New(pair[1], codec.Bytes).MaxMessage(1000).NewCodec(nil)
		if got, want := fmt.Sprintf("%T", pointer), fmt.Sprintf("%T", value); got != want {
			t.Errorf("%s: a codec of type %s, want %s", name, got, want)
		}
		_, _, err := pointer.(libnet.FrameParser).ParseFrame(append([]byte{0xff, 0xff, 0xff, 0x7f}, make([]byte, 1100)...))
		wantError(t, name, err, libnet.ErrFrameTooLarge)
	}
	field := &codec.LengthField{Size: 4, Strip: 4}
	c := pure(codec.New(field, codec.Bytes))
	field.Size = 9
	if frame, err := c.AppendFrame(nil, "x"); string(frame) != "\x00\x00\x00\x01x" || err != nil {
		t.Errorf("changed afterwards: %q, %v", frame, err)
	}
}

func TestAPointerToAMarshalerIsThatMarshaler(t *testing.T) {
	bytesMarshaler, jsonMarshaler, protoMarshaler := codec.Bytes, codec.JSON, codec.Proto
	for _, pair := range [][2]codec.Marshaler{{&bytesMarshaler, codec.Bytes}, {&jsonMarshaler, codec.JSON}, {&protoMarshaler, codec.Proto}} {
		pointer := fmt.Sprintf("%T", codec.New(codec.Uint8, pair[0]).NewCodec(nil))
		value := fmt.Sprintf("%T", codec.New(codec.Uint8, pair[1]).NewCodec(nil))
		if pointer != value {
			t.Errorf("%T: %s, want %s", pair[0], pointer, value)
		}
	}
}

// checkedField has rules of its own on top of a LengthField's.
type checkedField struct{ codec.LengthField }

func (f checkedField) AppendFrame(dst, payload []byte) ([]byte, error) {
	return f.LengthField.AppendFrame(dst, append(bytes.Clone(payload), '!'))
}

func (f checkedField) ParseFrame(src []byte) ([]byte, int, error) {
	payload, n, err := f.LengthField.ParseFrame(src)
	if n > 0 && !bytes.HasSuffix(payload, []byte("!")) {
		return nil, 0, libnet.ErrMalformedFrame
	}
	return bytes.TrimSuffix(payload, []byte("!")), n, err
}

func TestATypeThatEmbedsALengthFieldKeepsItsOwnRules(t *testing.T) {
	c := pure(codec.New(checkedField{codec.LengthField{Size: 2, Strip: 2}}, codec.Bytes).MaxMessage(10))
	frame := mustAppend(t, c, nil, "hello")
	if string(frame) != "\x00\x06hello!" {
		t.Errorf("%q", frame)
	}
	if got, _, err := c.ParseFrame(frame); string(got) != "hello" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	_, _, err := c.ParseFrame([]byte("\x00\x05hello"))
	wantError(t, "without its mark", err, libnet.ErrMalformedFrame)
	_, _, err = c.ParseFrame(append([]byte{0xff, 0xff}, make([]byte, 2*10+1024)...))
	wantError(t, "over the bound", err, libnet.ErrFrameTooLarge)
}

func TestNewRefusesWhatIsNothing(t *testing.T) {
	var noFraming *summed
	var noField *codec.LengthField
	lines, bytesMarshaler := &codec.Lines, &codec.Bytes
	lines, bytesMarshaler = nil, nil
	for name, f := range map[string]func(){
		"a nil pointer to a framing":     func() { codec.New(noFraming, codec.Bytes) },
		"a nil pointer to a LengthField": func() { codec.New(noField, codec.Bytes) },
		"a nil pointer to Lines":         func() { codec.New(lines, codec.Bytes) },
		"a nil pointer to a marshaler":   func() { codec.New(codec.Uint8, (*signed)(nil)) },
		"a nil pointer to Bytes":         func() { codec.New(codec.Uint8, bytesMarshaler) },
		"a bad LengthField by pointer":   func() { codec.New(&codec.LengthField{Size: 9}, codec.Bytes) },
		"an embedded bad LengthField":    func() { codec.New(checkedField{}, codec.Bytes) },
		"a negative Max":                 func() { codec.New(onlyMax{max: -1}, codec.Bytes) },
		"the least offset":               func() { codec.New(codec.LengthField{Offset: math.MinInt, Size: 1}, codec.Bytes) },
		"the largest offset":             func() { codec.New(codec.LengthField{Offset: math.MaxInt, Size: 1}, codec.Bytes) },
		"the least size":                 func() { codec.New(codec.LengthField{Size: math.MinInt}, codec.Bytes) },
		"the largest size":               func() { codec.New(codec.LengthField{Size: math.MaxInt}, codec.Bytes) },
		"the least adjust":               func() { codec.New(codec.LengthField{Size: 8, Adjust: math.MinInt}, codec.Bytes) },
		"the largest adjust":             func() { codec.New(codec.LengthField{Size: 8, Adjust: math.MaxInt}, codec.Bytes) },
		"the least strip":                func() { codec.New(codec.LengthField{Size: 8, Strip: math.MinInt}, codec.Bytes) },
		"the largest strip":              func() { codec.New(codec.LengthField{Size: 8, Strip: math.MaxInt}, codec.Bytes) },
		"the least fixed size":           func() { codec.Fixed(math.MinInt) },
	} {
		func() {
			defer func() {
				text, _ := recover().(string)
				if !strings.HasPrefix(text, "libnet: ") {
					t.Errorf("%s: panicked with %q", name, text)
				}
			}()
			f()
		}()
	}
}

func TestBytesAreNotSentAsJSONWithoutAWord(t *testing.T) {
	type blob []byte
	raw := []byte(`{"a":1}`)
	ring := new(any)
	*ring = ring
	pointer := &raw
	c := pure(codec.New(codec.Lines, codec.JSON))
	for _, msg := range []any{raw, &raw, &pointer, blob(raw), any(&pointer), []byte{}, ownBytes(raw), ring, namedRaw(raw)} {
		out, err := c.AppendFrame([]byte("before"), msg)
		if wantError(t, fmt.Sprintf("%T", msg), err, libnet.ErrEncode); string(out) != "before" {
			t.Errorf("%T: %q", msg, out)
		}
	}
	for want, msg := range map[string]any{
		`{"a":1}`:         json.RawMessage(raw),
		`"{\"a\":1}"`:     string(raw),
		`[123,34]`:        [2]byte{'{', '"'},
		`{"B":"eyJh"}`:    struct{ B []byte }{raw[:3]},
		`"127.0.0.1"`:     netIP("127.0.0.1"),
		`"own"`:           &pointerMarshaled{1},
		`[1,2]`:           []int{1, 2},
		`["eyJh"]`:        [][]byte{raw[:3]},
		`[null,"number"]`: []any{nil, "number"},
	} {
		if frame := mustAppend(t, c, nil, msg); string(frame) != want+"\n" {
			t.Errorf("%T: %q, want %q", msg, frame, want)
		}
	}
}

// namedRaw has lost the methods of json.RawMessage.
type namedRaw json.RawMessage

// netIP is bytes that encode themselves as text.
type netIP []byte

func (ip netIP) MarshalText() ([]byte, error) { return ip, nil }

type pointerMarshaled []byte

func (*pointerMarshaled) MarshalJSON() ([]byte, error) { return []byte(`"own"`), nil }
