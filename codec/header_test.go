package codec

import (
	"bytes"
	"testing"
)

// A session puts these frames together by itself: byte for byte as AppendFrame does.
func TestAHeaderAndItsPayloadAreTheFrameThatAppendFrameMakes(t *testing.T) {
	for p := Uint8; p <= Uint64LE; p++ {
		c := New(p, Bytes).NewCodec(nil).(*prefixedBytesCodec)
		for _, n := range []int{0, 1, 200, 255, 256, 0x1234, 0x12345} {
			if n > c.MaxMessage() {
				continue
			}
			payload := bytes.Repeat([]byte{7}, n)
			want, err := c.AppendFrame(nil, payload)
			if err != nil {
				t.Fatal(err)
			}
			h, isBytes := c.BytesHeader(payload)
			if !isBytes {
				t.Errorf("framing %d does not send bytes as they are", p)
			}
			var got []byte
			for i := range h.Len {
				got = append(got, byte(h.Bytes>>(8*i)))
			}
			if got = append(got, payload...); !bytes.Equal(got, want) {
				t.Errorf("framing %d, %d bytes: a frame of %d bytes that begins with %x; want %x", p, n, len(got), got[:min(8, len(got))], want[:min(8, len(want))])
			}
		}
	}
}

func TestAHeaderIsRefusedForWhatAppendFrameHasToSee(t *testing.T) {
	c := New(Uint16BE, Bytes).MaxMessage(4).NewCodec(nil).(*prefixedBytesCodec)
	if h, _ := c.BytesHeader(make([]byte, 5)); h.Len != 0 {
		t.Errorf("a message beyond the bound has a header of %d bytes", h.Len)
	}
}
