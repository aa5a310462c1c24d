package codec_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
)

// kinds of an answer of ParseFrame, so that answers can be compared.
func kindOf(n int, err error) string {
	switch {
	case errors.Is(err, libnet.ErrFrameTooLarge):
		return "too large"
	case errors.Is(err, libnet.ErrMalformedFrame):
		return "malformed"
	case err != nil:
		return err.Error()
	case n == 0:
		return "more"
	}
	return "frame"
}

// FuzzParseFrame: whatever a peer sends, and in whatever pieces it arrives, every framing cuts from
// it what its reference does.
func FuzzParseFrame(f *testing.F) {
	for which := range framings {
		f.Add([]byte{}, byte(which), uint16(10), byte(0))
		f.Add([]byte("\x00\x00\x00\x05hello\r\n\x00"), byte(which), uint16(10), byte(1))
		f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), byte(which), uint16(5), byte(3))
		f.Add([]byte("\x05\x00\x00\x00\x00\x00\x00\x00hello#+#+#\n"), byte(which), uint16(300), byte(255))
	}
	f.Fuzz(func(t *testing.T, src []byte, which byte, bound uint16, chunk byte) {
		framing := framings[int(which)%len(framings)]
		limit := framing.bound(int(bound))
		protocol := codec.New(framing.framing, codec.Bytes).MaxMessage(limit)
		if bound == 0 {
			protocol = protocol.MaxMessage(1) // 0 is the default
			limit = framing.bound(1)
		}
		parser := pure(protocol)
		messages, rest := [][]byte(nil), src
		end := ""
		for end == "" {
			want, wantN, wantErr := framing.decode(rest, limit)
			got, n, err := parser.ParseFrame(rest)
			kind, wantKind := kindOf(n, err), kindOf(wantN, wantErr)
			if framing.header == late && wantKind == "too large" && kind == "more" {
				wantKind = "more"
			}
			if kind != wantKind || n != wantN || !bytes.Equal(got, want) || (got == nil) != (kind != "frame") {
				t.Fatalf("%s with bound %d: %q is %s %q (%d), the reference says %s %q (%d)", framing.name, limit, rest, kind, got, n, wantKind, want, wantN)
			}
			if end = kind; kind == "frame" {
				end, rest, messages = "", rest[n:], append(messages, got)
			}
		}
		// The same through a connection that delivers chunk by chunk.
		c := protocol.NewCodec(reading(&pieces{src, int(chunk) + 1}))
		for i, want := range messages {
			if got, err := c.Receive(); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%s: message %d came in chunks as %q, %v, want %q", framing.name, i, got, err, want)
			}
		}
		_, err := c.Receive()
		wantEnd := end
		if end == "more" {
			wantEnd = io.EOF.Error()
			if len(rest) > 0 {
				wantEnd = io.ErrUnexpectedEOF.Error()
			}
		}
		if got := kindOf(0, err); got != wantEnd {
			t.Fatalf("%s: in chunks it ended with %s, want %s", framing.name, got, wantEnd)
		}
	})
}

// pieces reads at most size bytes at a time.
type pieces struct {
	rest []byte
	size int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.size)], p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// FuzzRoundTrip: a message that is sent arrives as it was, whatever follows it, or is refused for
// the reason that is true.
func FuzzRoundTrip(f *testing.F) {
	for which := range framings {
		f.Add([]byte(""), byte(which), uint16(100), []byte{})
		f.Add([]byte("hello"), byte(which), uint16(100), []byte("more"))
		f.Add([]byte("\r\n"), byte(which), uint16(1), []byte("\n"))
		f.Add([]byte("12345#+"), byte(which), uint16(7), []byte("#+#"))
		f.Add(bytes.Repeat([]byte{0x80}, 128), byte(which), uint16(128), []byte{0})
	}
	f.Fuzz(func(t *testing.T, payload []byte, which byte, bound uint16, next []byte) {
		framing := framings[int(which)%len(framings)]
		limit := framing.bound(max(int(bound), 1))
		protocol := codec.New(framing.framing, codec.Bytes).MaxMessage(limit)
		c := pure(protocol)
		next = slices.Clip(next) // the fuzzer's arguments may lie in one piece of memory
		frame, err := c.AppendFrame(next, &payload)
		switch {
		case len(payload) > limit:
			wantError(t, framing.name, err, libnet.ErrFrameTooLarge)
		case !framing.canCarry(payload):
			wantError(t, framing.name, err, libnet.ErrEncode)
		case err != nil:
			t.Fatalf("%s: %q: %v", framing.name, payload, err)
		}
		roomy, roomyErr := c.AppendFrame(append(make([]byte, 0, len(next)+len(payload)+100), next...), &payload)
		if !bytes.Equal(roomy, frame) || (roomyErr == nil) != (err == nil) {
			t.Fatalf("%s: with room behind it %q, %v, without %q, %v", framing.name, roomy, roomyErr, frame, err)
		}
		if !bytes.HasPrefix(frame, next) || err != nil && len(frame) != len(next) {
			t.Fatalf("%s: what was there before, %q, became %q", framing.name, next, frame)
		}
		if err != nil {
			return
		}
		frame = frame[len(next):]
		if alone, err := framing.framing.AppendFrame(nil, payload); err != nil || !bytes.Equal(alone, frame) {
			t.Fatalf("%s: by itself it makes %q, %v, of what the codec makes %q", framing.name, alone, err, frame)
		}
		got, n, err := c.ParseFrame(append(bytes.Clone(frame), next...))
		if err != nil || n != len(frame) || !bytes.Equal(got, framing.asReceived(payload)) {
			t.Fatalf("%s: %q came back as %q, n %d of %d, %v", framing.name, payload, got, n, len(frame), err)
		}
	})
}
