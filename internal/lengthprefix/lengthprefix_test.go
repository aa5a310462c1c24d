package lengthprefix_test

import (
	"bytes"
	"testing"

	"github.com/libnet-go/libnet/internal/lengthprefix"
)

// frame is how it is written down: size bytes of length, one at a time.
func frame(size int, big bool, payload []byte) []byte {
	out := make([]byte, size)
	for i := range out {
		at := i
		if big {
			at = size - 1 - i
		}
		if i < 8 {
			out[at] = byte(len(payload) >> (8 * i))
		}
	}
	return append(out, payload...)
}

func forEach(f func(size int, big bool)) {
	for size := 1; size <= 8; size++ {
		f(size, false)
		f(size, true)
	}
}

func TestAFrameIsCutAsItIsWritten(t *testing.T) {
	forEach(func(size int, big bool) {
		for _, n := range []int{0, 1, 5, 8, 200, 255, 256, 0x1234, 0x12345} {
			limit := 1<<(8*min(size, 3)) - 1
			if n > limit {
				continue
			}
			p := lengthprefix.New(size, big, limit)
			payload := bytes.Repeat([]byte{7}, n)
			wire := frame(size, big, payload)
			if got := p.Length(wire); got != uint64(n) {
				t.Errorf("%d bytes, big %v: a length of %d reads as %d", size, big, n, got)
			}
			head, length := p.Header(n)
			if length != size {
				t.Errorf("a header of %d bytes, and not %d", length, size)
			}
			for i := range size {
				if byte(head>>(8*i)) != wire[i] {
					t.Errorf("%d bytes, big %v: the header of %d bytes is %x, and not %x", size, big, n, head, wire[:size])
				}
			}
			got, whole := p.Cut(append(wire, "behind it"...))
			if whole != len(wire) || !bytes.Equal(got, payload) || cap(got) != n {
				t.Errorf("%d bytes, big %v: of %d bytes payload %d came, with room for %d, in a frame of %d", size, big, n, len(got), cap(got), whole)
			}
		}
	})
}

func TestWhatIsNoWholeFrameIsNotCut(t *testing.T) {
	forEach(func(size int, big bool) {
		p := lengthprefix.New(size, big, 100)
		wire := frame(size, big, make([]byte, 100))
		for n := range wire {
			if payload, length := p.Cut(wire[:n]); length != 0 || payload != nil {
				t.Fatalf("%d bytes, big %v: %d of %d bytes were cut", size, big, length, n)
			}
		}
		for _, n := range []int{101, 255} {
			if _, length := p.Cut(append(frame(size, big, make([]byte, n)), make([]byte, 8)...)); length != 0 {
				t.Errorf("%d bytes, big %v: %d bytes were cut, 100 may be", size, big, n)
			}
		}
		// The largest number there is, which added to anything would wrap around.
		if _, length := p.Cut(bytes.Repeat([]byte{0xff}, 300)); length != 0 {
			t.Errorf("%d bytes, big %v: the largest length was cut", size, big)
		}
	})
}

func FuzzCut(f *testing.F) {
	f.Add(uint8(2), true, uint16(100), []byte("\x00\x03abc, and more"))
	f.Add(uint8(8), false, uint16(4), []byte("\x04\x00\x00\x00\x00\x00\x00\x00abcd"))
	f.Fuzz(func(t *testing.T, size uint8, big bool, limit uint16, src []byte) {
		p := lengthprefix.New(int(size%8)+1, big, int(limit))
		payload, n := p.Cut(src)
		if n == 0 {
			return
		}
		if length := p.Length(src); length != uint64(len(payload)) || length > uint64(limit) || n != p.Size+len(payload) || n > len(src) {
			t.Errorf("a payload of %d bytes, whose length is %d, in a frame of %d of %d", len(payload), length, n, len(src))
		}
		if !bytes.Equal(payload, src[p.Size:n]) {
			t.Error("the payload is another")
		}
	})
}
