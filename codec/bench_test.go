package codec_test

import (
	"encoding/binary"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
)

// Each round is one AppendFrame of 64 bytes and one ParseFrame of what it made, through the
// interfaces that a session uses. The rows "by hand" are the same work without this package.
func BenchmarkFrame(b *testing.B) {
	payload := make([]byte, 64)
	boxed := any(payload)
	b.Run("by hand/Bytes", func(b *testing.B) {
		var dst []byte
		b.ReportAllocs()
		for b.Loop() {
			dst = binary.BigEndian.AppendUint16(dst[:0], uint16(len(payload)))
			dst = append(dst, payload...)
			if n := int(binary.BigEndian.Uint16(dst)); len(dst) < 2+n || len(dst[2:2+n]) != 64 {
				b.Fatal("torn")
			}
		}
	})
	for _, row := range []struct {
		name    string
		framing codec.Framing
	}{
		{"Uint16BE", codec.Uint16BE},
		{"Uint32LE", codec.Uint32LE},
		{"Uint64BE", codec.Uint64BE},
		{"LengthField", codec.LengthField{Size: 2, Strip: 2}},
		{"Uvarint", codec.Uvarint},
		{"Lines", codec.Lines},
		{"Fixed", codec.Fixed(64)},
		{"user's", userFraming{}},
	} {
		b.Run(row.name+"/Bytes", func(b *testing.B) { benchFrame(b, codec.New(row.framing, codec.Bytes), boxed, 64) })
	}
	b.Run("Uint16BE/JSON", func(b *testing.B) {
		benchFrame(b, codec.New(codec.Uint16BE, codec.JSON), "sixty-four bytes, of which two are the quotes, as JSON has them", 65)
	})
	message := &anypb.Any{Value: make([]byte, 62)}
	b.Run("by hand/Proto", func(b *testing.B) {
		var dst []byte
		b.ReportAllocs()
		for b.Loop() {
			dst = append(dst[:0], 0, 0)
			dst, _ = proto.MarshalOptions{}.MarshalAppend(dst, message)
			binary.BigEndian.PutUint16(dst, uint16(len(dst)-2))
			if n := int(binary.BigEndian.Uint16(dst)); len(dst) < 2+n || len(dst[2:2+n]) != 64 {
				b.Fatal("torn")
			}
		}
	})
	b.Run("Uint16BE/Proto", func(b *testing.B) { benchFrame(b, codec.New(codec.Uint16BE, codec.Proto), message, 64) })
	b.Run("Uvarint/Proto", func(b *testing.B) { benchFrame(b, codec.New(codec.Uvarint, codec.Proto), message, 64) })
	old := &legacyMessage{Cmd: proto.Uint32(1), Body: make([]byte, 60)}
	b.Run("Uint16BE/Proto of 2017", func(b *testing.B) { benchFrame(b, codec.New(codec.Uint16BE, codec.Proto), old, 64) })
}

func benchFrame(b *testing.B, protocol *codec.Composed, msg any, size int) {
	c := protocol.NewCodec(nil)
	appender, parser := c.(libnet.FrameAppender), c.(libnet.FrameParser)
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if dst, err = appender.AppendFrame(dst[:0], msg); err != nil {
			b.Fatal(err)
		}
		if payload, n, err := parser.ParseFrame(dst); n != len(dst) || len(payload) != size || err != nil {
			b.Fatal(n, len(payload), err)
		}
	}
}
