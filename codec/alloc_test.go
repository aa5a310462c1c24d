package codec_test

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
)

func TestFramesAreMadeAndFoundWithoutAllocating(t *testing.T) {
	slice := bytes.Repeat([]byte{'x'}, 5)
	old := &legacyMessage{Cmd: proto.Uint32(1), Body: []byte{1}}
	for _, framing := range framings {
		for _, row := range []struct {
			name      string
			marshaler codec.Marshaler
			msg       any
			allowed   float64
		}{
			{"Bytes", codec.Bytes, slice, 0},
			{"Bytes of a pointer", codec.Bytes, &slice, 0},
			{"Bytes of a string", codec.Bytes, "xxxxx", 0},
			{"Proto", codec.Proto, &anypb.Any{Value: slice[:3]}, 0},
			{"Proto of 2017", codec.Proto, old, 1},
		} {
			c := pure(codec.New(framing.framing, row.marshaler))
			dst := make([]byte, 0, 1<<10)
			frame := mustAppend(t, c, dst, row.msg)
			got := testing.AllocsPerRun(100, func() {
				if _, err := c.AppendFrame(dst, row.msg); err != nil {
					t.Fatal(err)
				}
				if _, n, err := c.ParseFrame(frame); n == 0 || err != nil {
					t.Fatal(n, err)
				}
				if _, n, err := c.ParseFrame(frame[:len(frame)-1]); n != 0 || err != nil {
					t.Fatal(n, err)
				}
			})
			if got > row.allowed {
				t.Errorf("%s/%s: %v allocations", framing.name, row.name, got)
			}
		}
	}
}

func TestAReceivedMessageIsOneAllocationAndASentOneIsNone(t *testing.T) {
	frame := mustAppend(t, pure(codec.Protobuf()), nil, &anypb.Any{Value: make([]byte, 60)})
	in := codec.Protobuf().NewCodec(reading(&repeating{frame: frame}))
	out := codec.New(codec.Uint16BE, codec.Bytes).NewCodec(writing(discard{}))
	msg := any(frame)
	got := testing.AllocsPerRun(1000, func() {
		if _, err := in.Receive(); err != nil {
			t.Fatal(err)
		}
		if err := out.Send(msg); err != nil {
			t.Fatal(err)
		}
	})
	if got > 1 {
		t.Errorf("%v allocations a message, want the received message alone", got)
	}
}

// repeating sends one frame over and over.
type repeating struct {
	frame []byte
	sent  int
}

func (r *repeating) Read(p []byte) (int, error) {
	n := copy(p, r.frame[r.sent:])
	r.sent = (r.sent + n) % len(r.frame)
	return n, nil
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// A message is split only where its payload follows a header and lies in memory as it is.
func TestBytesBehindALengthAreNotCopied(t *testing.T) {
	slice := []byte("12345")
	for _, framing := range framings {
		c := codec.New(framing.framing, codec.Bytes).NewCodec(nil)
		splitter, ok := c.(libnet.FrameSplitter)
		lengthFirst := framing.header > 0 && framing.name != "Fixed" && framing.arrives == nil && framing.name != "user's with everything"
		if ok != lengthFirst {
			t.Errorf("%s: a FrameSplitter: %v, want %v", framing.name, ok, lengthFirst)
		}
		if _, ok := codec.New(framing.framing, codec.JSON).NewCodec(nil).(libnet.FrameSplitter); ok {
			t.Errorf("%s with JSON is a FrameSplitter", framing.name)
		}
		if !ok {
			continue
		}
		for _, msg := range []any{slice, &slice} {
			header, payload, err := splitter.SplitFrame([]byte("before"), msg)
			if err != nil || len(payload) != 5 || &payload[0] != &slice[0] {
				t.Errorf("%s: %q, %v", framing.name, payload, err)
			}
			whole := mustAppend(t, c.(libnet.FrameAppender), []byte("before"), msg)
			if string(header)+string(payload) != string(whole) {
				t.Errorf("%s: split into %q and %q, whole %q", framing.name, header, payload, whole)
			}
		}
		if header, payload, err := splitter.SplitFrame([]byte("before"), "string"); string(header) != "before" || payload != nil || err != nil {
			t.Errorf("%s: a string: %q, %q, %v", framing.name, header, payload, err)
		}
		header, payload, err := splitter.SplitFrame([]byte("before"), 5)
		if wantError(t, framing.name, err, libnet.ErrEncode); string(header) != "before" || payload != nil {
			t.Errorf("%s: with an error %q, %q", framing.name, header, payload)
		}
		narrow := codec.New(framing.framing, codec.Bytes).MaxMessage(4).NewCodec(nil).(libnet.FrameSplitter)
		header, payload, err = narrow.SplitFrame([]byte("before"), slice)
		if wantError(t, framing.name, err, libnet.ErrFrameTooLarge); string(header) != "before" || payload != nil {
			t.Errorf("%s: with an error %q, %q", framing.name, header, payload)
		}
	}
}
