package lengthprefix_test

import (
	"bytes"
	"testing"
	"unicode/utf8"

	"github.com/libnet-go/libnet/internal/lengthprefix"
)

const (
	opText  = 1
	opBytes = 2
)

// masked is a client's frame (RFC 6455, 5.2 and 5.3), an octet at a time.
func masked(first byte, key [4]byte, payload []byte) []byte {
	out := append([]byte{first, 0x80 | byte(len(payload))}, key[:]...)
	for i, b := range payload {
		out = append(out, b^key[i%4])
	}
	return out
}

func TestAClientsFrameIsCutAndUnmasked(t *testing.T) {
	p := lengthprefix.WebSocket(opBytes, 1000)
	for n := range 126 {
		payload := bytes.Repeat([]byte{7, 0xfe, 3}, n)[:n]
		key := [4]byte{1, 0x80, byte(n), 0xff}
		wire := masked(0x82, key, payload)
		for short := range wire {
			before := bytes.Clone(wire[:short])
			if _, got := p.CutMasked(wire[:short]); got != 0 || !bytes.Equal(before, wire[:short]) {
				t.Fatalf("%d of %d bytes were cut to %d, or changed", short, len(wire), got)
			}
		}
		got, length := p.CutMasked(append(wire, "behind it"...))
		if length != len(wire) || !bytes.Equal(got, payload) || cap(got) != n {
			t.Errorf("of %d bytes %d came, with room for %d, in a frame of %d", n, len(got), cap(got), length)
		}
	}
}

func TestWhatIsNoWholeMessageIsNotCutAndStaysAsItIs(t *testing.T) {
	key := [4]byte{1, 2, 3, 4}
	for name, test := range map[string]struct {
		opcode byte
		wire   []byte
	}{
		"a fragment":              {opBytes, masked(0x02, key, make([]byte, 10))},
		"the last fragment":       {opBytes, masked(0x80, key, make([]byte, 10))},
		"another kind":            {opBytes, masked(0x81, key, make([]byte, 10))},
		"compressed":              {opBytes, masked(0xc2, key, make([]byte, 10))},
		"a ping":                  {opBytes, masked(0x89, key, make([]byte, 10))},
		"no mask":                 {opBytes, append([]byte{0x82, 10}, make([]byte, 20)...)},
		"beyond the bound":        {opBytes, masked(0x82, key, make([]byte, 101))},
		"a length in 16 bits":     {opBytes, append([]byte{0x82, 0xfe, 0, 126}, make([]byte, 130)...)},
		"a length in 64 bits":     {opBytes, append([]byte{0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 126}, make([]byte, 130)...)},
		"a text that is no UTF-8": {opText, masked(0x81, key, []byte("\xe2\x82 and more"))},
	} {
		p := lengthprefix.WebSocket(test.opcode, 100)
		before := bytes.Clone(test.wire)
		if payload, n := p.CutMasked(test.wire); n != 0 || payload != nil || !bytes.Equal(before, test.wire) {
			t.Errorf("%s: %d bytes were cut, or changed", name, n)
		}
	}
}

func TestAServersHeaderIsThatOfItsFrame(t *testing.T) {
	p := lengthprefix.WebSocket(opText, 1<<20)
	for n, want := range map[int]string{
		0: "\x81\x00", 1: "\x81\x01", 125: "\x81\x7d", 126: "\x81\x7e\x00\x7e", 0x1234: "\x81\x7e\x12\x34",
		lengthprefix.MaxWebSocketBytes: "\x81\x7e\xff\xff",
	} {
		head, size := p.Header(n)
		var got []byte
		for i := range size {
			got = append(got, byte(head>>(8*i)))
		}
		if string(got) != want {
			t.Errorf("%d bytes: %x, want %x", n, got, want)
		}
	}
}

func FuzzCutMasked(f *testing.F) {
	f.Add(uint8(opBytes), uint16(100), masked(0x82, [4]byte{1, 2, 3, 4}, []byte("abc, and more")))
	f.Add(uint8(opText), uint16(100), masked(0x81, [4]byte{1, 2, 3, 4}, []byte("\xe2\x82\xac, and more")))
	f.Fuzz(func(t *testing.T, opcode uint8, limit uint16, src []byte) {
		opcode = opcode&1 + 1
		p := lengthprefix.WebSocket(opcode, int(limit))
		before := bytes.Clone(src)
		payload, n := p.CutMasked(src)
		if n == 0 {
			if !bytes.Equal(before, src) {
				t.Error("what was not cut has changed")
			}
			return
		}
		if len(payload) > int(limit) || opcode == opText && !utf8.Valid(payload) {
			t.Errorf("%q was cut within %d", payload, limit)
		}
		if want := masked(0x80|opcode, [4]byte(before[2:]), payload); !bytes.Equal(want, before[:n]) {
			t.Errorf("%x was cut from %x", payload, before[:n])
		}
		if !bytes.Equal(before[n:], src[n:]) {
			t.Error("what lies behind it has changed")
		}
	})
}

func TestAMaskGoesOnWhereItEnded(t *testing.T) {
	for n := range 100 {
		for at := range n + 1 {
			whole := bytes.Repeat([]byte{0xa5, 0x11}, n)[:n]
			parts := bytes.Clone(whole)
			lengthprefix.Mask(whole, 0x04030201)
			lengthprefix.Mask(parts[at:], lengthprefix.Mask(parts[:at], 0x04030201))
			if !bytes.Equal(whole, parts) {
				t.Fatalf("%d bytes differ when masked in two parts of %d and %d", n, at, n-at)
			}
		}
	}
}
