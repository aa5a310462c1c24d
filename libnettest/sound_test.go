package libnettest_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/libnettest"
)

func TestTheKitPassesEveryCodecOfPackageCodec(t *testing.T) {
	text := []any{"", "hello", []byte("a"), []byte("two words"), strings.Repeat("long ", 100)}
	for name, test := range map[string]struct {
		framing   codec.Framing
		marshaler codec.Marshaler
		messages  []any
	}{
		"Uint8":               {codec.Uint8, codec.Bytes, text[:4]},
		"Uint16BE":            {codec.Uint16BE, codec.Bytes, text},
		"Uint16LE":            {codec.Uint16LE, codec.Bytes, text},
		"Uint24BE":            {codec.Uint24BE, codec.Bytes, text},
		"Uint24LE":            {codec.Uint24LE, codec.Bytes, text},
		"Uint32BE":            {codec.Uint32BE, codec.Bytes, text},
		"Uint32LE":            {codec.Uint32LE, codec.Bytes, text},
		"Uint64BE":            {codec.Uint64BE, codec.Bytes, text},
		"Uint64LE":            {codec.Uint64LE, codec.Bytes, text},
		"Uvarint":             {codec.Uvarint, codec.Bytes, text},
		"Lines":               {codec.Lines, codec.Bytes, text},
		"Delimiter":           {codec.Delimiter("\r\n"), codec.Bytes, text},
		"Delimiter, one byte": {codec.Delimiter("\x00"), codec.Bytes, text},
		"Fixed":               {codec.Fixed(5), codec.Bytes, []any{"hello", []byte("world")}},
		"LengthField":         {codec.LengthField{Offset: 1, Size: 2, Strip: 3, Adjust: 0}, codec.Bytes, text},
		"LengthField, whole":  {codec.LengthField{Size: 4, IncludesHeader: true, Strip: 4}, codec.Bytes, text},
		"JSON":                {codec.Uint16BE, codec.JSON, []any{map[string]int{"a": 1, "b": 2, "c": 3}, "text"}},
		"JSON lines":          {codec.Lines, codec.JSON, []any{map[string]any{"a": 1, "b": "<b>"}, []int{1, 2}}},
		"Proto":               {codec.Uvarint, codec.Proto, []any{wrapperspb.String("text"), wrapperspb.Bytes(nil), structOf(t)}},
	} {
		t.Run(name, func(t *testing.T) {
			libnettest.TestProtocol(t, codec.New(test.framing, test.marshaler), test.messages...)
		})
	}
}

// structOf is a message with maps, whose encoding comes in another order each time.
func structOf(t *testing.T) *structpb.Struct {
	t.Helper()
	s, err := structpb.NewStruct(map[string]any{"a": 1, "b": "two", "c": map[string]any{"d": true, "e": nil}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// masked is parts with a random mask in each frame, as WebSocket's clients have, and a time stamp.
func masked(c *parts) {
	const extra = 4 + 8
	c.encode = func(dst []byte, msg any) ([]byte, error) {
		p, err := payloadOf(msg)
		switch {
		case err != nil:
			return dst, err
		case len(p) > c.max-extra:
			return dst, libnet.ErrFrameTooLarge
		}
		mask := binary.BigEndian.AppendUint32(nil, rand.Uint32())
		dst = append(c.appendLength(dst, len(p)+extra), mask...)
		dst = binary.BigEndian.AppendUint64(dst, uint64(time.Now().UnixNano()))
		for i, b := range p {
			dst = append(dst, b^mask[i%4])
		}
		return dst, nil
	}
	c.parse = func(src []byte) ([]byte, int, error) {
		p, n, err := c.soundParse(src)
		switch {
		case err != nil || n == 0:
			return nil, n, err
		case len(p) < extra:
			return nil, 0, libnet.ErrMalformedFrame
		}
		clear := make([]byte, len(p)-extra)
		for i := range clear {
			clear[i] = p[extra+i] ^ p[i%4]
		}
		return clear, n, nil
	}
	c.split = func(dst []byte, _ any) ([]byte, []byte, error) { return dst, nil, nil }
}

// event is a message that no other codec can read.
type event struct {
	Text string
	Tags map[string]int
}

// events is parts with events, which write makes bytes of.
func events(write func(e event) []byte) func(c *parts) {
	return func(c *parts) {
		c.encode = func(dst []byte, msg any) ([]byte, error) {
			e, ok := msg.(event)
			if !ok {
				return dst, fmt.Errorf("%w: %T", libnet.ErrEncode, msg)
			}
			return c.soundEncode(dst, write(e))
		}
		c.split = func(dst []byte, _ any) ([]byte, []byte, error) { return dst, nil, nil }
	}
}

func byMap(e event) []byte {
	var b bytes.Buffer
	for tag, n := range e.Tags {
		fmt.Fprintf(&b, "%s=%d;", tag, n)
	}
	return append(b.Bytes(), e.Text...)
}

func stamped(e event) []byte {
	return fmt.Appendf(nil, "%d %s %v", time.Now().UnixMicro(), e.Text, e.Tags)
}

func withNonce(e event) []byte {
	b, _ := json.Marshal(map[string]any{"nonce": fmt.Sprint(rand.Uint64()), "text": e.Text})
	return b
}

func someEvents() []any {
	return []any{event{Text: "first"}, event{"second", map[string]int{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}}}
}

func TestTheKitPassesSoundCodecsWhoseFramesVary(t *testing.T) {
	for name, test := range map[string]struct {
		spoil    func(c *parts)
		messages []any
	}{
		"a mask and a time stamp in the frame": {masked, mutantMessages()},
		"parts in the order of a map":          {events(byMap), someEvents()},
		"a time stamp in the payload":          {events(stamped), someEvents()},
		"a nonce in the payload":               {events(withNonce), someEvents()},
		"a nonce in a payload that is checked": {events(withNonce), []any{libnettest.Expect{
			Message: event{Text: "text"},
			Check: func(payload []byte) error {
				var got struct{ Nonce, Text string }
				if err := json.Unmarshal(payload, &got); err != nil || got.Text != "text" {
					return fmt.Errorf("%q, %v", payload, err)
				}
				return nil
			},
		}}},
	} {
		t.Run(name, func(t *testing.T) { libnettest.TestProtocol(t, mutated(test.spoil), test.messages...) })
	}
}

// Codecs whose frames vary must not be let off for that.
func TestTheKitCatchesMutantsWhoseFramesVary(t *testing.T) {
	every40th := func(make func(c *parts)) func(c *parts) {
		return func(c *parts) {
			make(c)
			receive := c.receive
			c.receive = func() ([]byte, error) {
				p, err := receive()
				if err == nil && c.shared.n.Add(1)%40 == 0 {
					p = damage(p)
				}
				return p, err
			}
		}
	}
	plain := func(e event) []byte { return []byte(e.Text + " and more") }
	for name, test := range map[string]struct {
		spoil    func(c *parts)
		messages []any
		said     string
	}{
		"a mask and a time stamp in the frame": {every40th(masked), mutantMessages(), inOrder},
		"parts in the order of a map":          {every40th(events(byMap)), someEvents(), "every message must arrive as it was sent"},
		"messages that only the codec knows":   {every40th(events(plain)), someEvents(), "every message must arrive as it was sent"},
	} {
		t.Run(name, func(t *testing.T) {
			wantCaught(t, "many messages in a row", test.said, mutated(test.spoil), test.messages...)
		})
	}
}
