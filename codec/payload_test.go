package codec_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
)

// payloadChecker is what a codec offers to a transport that keeps messages apart by itself.
type payloadChecker interface{ CheckPayload(payload []byte) error }

// checkPayload asserts that c takes those payloads that a frame can bring, and no others.
func checkPayload(t *testing.T, framing framingCase, c libnet.Codec, payload []byte, limit int) {
	t.Helper()
	err := c.(payloadChecker).CheckPayload(payload)
	switch {
	case len(payload) > limit:
		wantError(t, framing.name, err, libnet.ErrFrameTooLarge)
	case !framing.canCarry(payload) || !bytes.Equal(framing.asReceived(payload), payload):
		if !errors.Is(err, libnet.ErrMalformedFrame) {
			t.Errorf("%s: %q: %v", framing.name, payload, err)
		}
	case err != nil:
		t.Errorf("%s: %q, which a frame can bring: %v", framing.name, payload, err)
	}
}

func TestARuleOfAFramingHoldsWithoutTheFraming(t *testing.T) {
	for _, framing := range framings {
		for _, marshaler := range []codec.Marshaler{codec.Bytes, codec.JSON} {
			limit := framing.bound(20)
			c := codec.New(framing.framing, marshaler).MaxMessage(limit).NewCodec(nil)
			for _, payload := range []string{
				"", "1", "12345", "123456", "line\n", "line\r", "\n", "two\r\nlines", "#+", "#+#", "zero\x00", "a long one, of twenty",
				"Q\x00\x00\x00\x05R", "Q\x00\x00\x00\x01R", "Q\x00\x00\x00\x05", "Q\x00\x00\x00\x04", "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
			} {
				checkPayload(t, framing, c, []byte(payload), limit)
			}
		}
	}
	for _, framing := range []codec.Framing{summed{}, sealingSum{}} {
		c := codec.New(framing, codec.Bytes).MaxMessage(5).NewCodec(nil).(payloadChecker)
		if err := c.CheckPayload([]byte("12345")); err != nil {
			t.Errorf("%T: %v", framing, err)
		}
		wantError(t, "over the bound", c.CheckPayload([]byte("123456")), libnet.ErrFrameTooLarge)
	}
}

func FuzzCheckPayload(f *testing.F) {
	for which := range framings {
		f.Add([]byte("12345"), byte(which), uint16(100))
		f.Add([]byte("Q\x00\x00\x00\x05R"), byte(which), uint16(5))
	}
	f.Fuzz(func(t *testing.T, payload []byte, which byte, bound uint16) {
		framing := framings[int(which)%len(framings)]
		limit := framing.bound(max(int(bound), 1))
		checkPayload(t, framing, codec.New(framing.framing, codec.Bytes).MaxMessage(limit).NewCodec(nil), payload, limit)
	})
}
