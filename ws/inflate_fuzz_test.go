package ws_test

import (
	"bytes"
	"compress/flate"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// Whatever a compressed message is, we find in it what RFC 7692, 7.2.2 says, or close for what is wrong; and what we
// find, the reference finds, too. It finds more: the beginning of what is cut.
func FuzzWeInflateWhatTheReferenceInflates(f *testing.F) {
	for _, seed := range []string{
		"", "\x00", "\x01", "\x02\x00", "\xff\xff", "\x01\x00\x00\xff\xff\x00",
		"\xf2\x48\xcd\xc9\xc9\x07\x00", "\xf3\x48\xcd\xc9\xc9\x07\x00", "\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
		"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", "\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x00\x11\x00\x00",
		strings.Repeat("\x03\x00", 70) + "\x00",
		deflate(f, compressible(3000)), deflate(f, strings.Repeat("x", fuzzLimit)), deflate(f, strings.Repeat("x", fuzzLimit+1)),
	} {
		f.Add([]byte(seed), uint16(len(seed)/2))
	}
	extended := request(offersDeflate + "; client_no_context_takeover; server_no_context_takeover")
	f.Fuzz(func(t *testing.T, compressed []byte, cut uint16) {
		compressed = compressed[:min(len(compressed), 60_000)]
		at := min(int(cut), len(compressed))
		input := []byte(long(compressedFrame|binaryFrame, string(compressed[:at])) + long(fin, string(compressed[at:])) + frame(0x88, "\x03\xe8"))
		message, code, last := inflateStrictly(compressed)
		ours, oursCode := readByUs(t, extended, input, withCompressFrom(nil, 1))
		if oursCode != code || code == 1000 && !slices.Equal(ours, []string{message}) {
			t.Fatalf("we read %d messages and end with %d, want one of %d bytes and %d", len(ours), oursCode, len(message), code)
		}
		theirs, _ := readByReference(t, extended, input, &websocket.AcceptOptions{CompressionMode: websocket.CompressionNoContextTakeover})
		if code == 1000 && (len(theirs) == 0 || theirs[0] != message && !(last && strings.HasPrefix(message, theirs[0]))) {
			t.Fatalf("the reference reads %d messages, and not the one of %d bytes", len(theirs), len(message))
		}
	})
}

// inflateStrictly returns the message and 1000, or the code with which what is wrong is told; last says that a block
// was the last, behind which the reference does not look.
func inflateStrictly(compressed []byte) (message string, code int, last bool) {
	src := bytes.NewReader(slices.Concat(compressed, []byte("\x00\x00\xff\xff\x01\x00\x00\xff\xff")))
	var out []byte
	for range 64 {
		r := flate.NewReaderDict(src, out[max(0, len(out)-32<<10):])
		more, err := io.ReadAll(io.LimitReader(r, int64(fuzzLimit+1-len(out))))
		out = append(out, more...)
		switch {
		case len(out) > fuzzLimit:
			return "", 1009, last
		case err != nil:
			return "", 1002, last
		case src.Len() == 0:
			return string(out), 1000, last
		}
		last = true
	}
	return "", 1002, last
}
