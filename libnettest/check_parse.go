package libnettest

import (
	"bytes"
	"io"
	"testing"

	"github.com/libnet-go/libnet"
)

func parseFrame(tb testing.TB, parser libnet.FrameParser, src []byte) (payload []byte, n int, err error) {
	tb.Helper()
	defer failOnPanic(tb, "ParseFrame")
	before := bytes.Clone(src)
	payload, n, err = parser.ParseFrame(src)
	switch {
	case !bytes.Equal(src, before):
		tb.Fatalf("ParseFrame changed src from %.64q to %.64q", before, src)
	case n < 0 || n > len(src):
		tb.Fatalf("ParseFrame says that %d of %d bytes are a frame", n, len(src))
	case n == 0 && len(payload) > 0, err != nil && (n != 0 || len(payload) > 0):
		tb.Fatalf("ParseFrame returned %d bytes of payload, n = %d and the error %v", len(payload), n, err)
	}
	return payload, n, err
}

func checkParseFrame(tb testing.TB, k *kit) {
	parser, w, touched := optional[libnet.FrameParser](tb, k)
	if k.ends[0] != 0 {
		tb.Fatal("a codec that sends something before the first message cannot have ParseFrame, which depends on nothing but src")
	}
	k.parsesFrames(tb, parser)
	for _, position := range k.positions() {
		start := k.ends[min(k.complete(position), len(k.samples))]
		for _, src := range [][]byte{k.stream[start:position], k.stream[start:position:position]} {
			if payload, n, err := parseFrame(tb, parser, src); n != 0 || err != nil {
				tb.Fatalf("ParseFrame of a frame's first %d bytes = %.64q, %d, %v; want n = 0 and no error", position-start, payload, n, err)
			}
		}
	}
	k.parsesFrames(tb, parser)
	for _, in := range k.hostile() {
		k.parsesAsReceived(tb, parser, in)
	}
	k.parsesFrames(tb, parser)
	if w.touched() != touched {
		tb.Fatal("ParseFrame used the connection: it depends on nothing but src")
	}
}

// parsesFrames wants the frames of the stream, wherever they lie and whatever was parsed before, and payloads that
// the next call leaves alone.
func (k *kit) parsesFrames(tb testing.TB, parser libnet.FrameParser) {
	tb.Helper()
	stream := bytes.Clone(k.stream)
	payloads := make([][]byte, len(k.payloads))
	for i, want := range k.payloads {
		start, end := k.ends[i], k.ends[i+1]
		for _, src := range [][]byte{stream[start:end:end], stream[start:]} { // the frame alone, and with all that follows
			payload, n, err := parseFrame(tb, parser, src)
			if n != end-start || err != nil || !bytes.Equal(payload, want) {
				tb.Fatalf("ParseFrame of frame %d, with %d bytes behind it, = %.64q, %d, %v; Receive returns %.64q, and the frame is of %d bytes: ParseFrame depends on nothing but src",
					i, len(src)-(end-start), payload, n, err, want, end-start)
			}
			payloads[i] = payload
		}
	}
	for i, want := range k.payloads {
		if !bytes.Equal(payloads[i], want) {
			tb.Fatalf("ParseFrame of later frames changed the payload of frame %d: it must not keep what it returned", i)
		}
	}
	if !bytes.Equal(stream, k.stream) {
		tb.Fatal("ParseFrame changed src in a later call: it must not keep src")
	}
	for i := range k.payloads {
		k.appendsTo(tb, payloads[i], stream, i)
	}
}

// appendsTo does what a handler may do with frame i's payload: append to it.
func (k *kit) appendsTo(tb testing.TB, payload, stream []byte, i int) {
	tb.Helper()
	spoil(payload[len(payload):cap(payload)])
	if behind := k.ends[i+1]; !bytes.Equal(stream[behind:], k.stream[behind:]) {
		tb.Fatalf("the payload of frame %d has a capacity of %d bytes for %d, which reaches into the next frame: an append to it destroys that; return src[from:to:to]",
			i, cap(payload), len(payload))
	}
}

// parsesAsReceived wants ParseFrame and Receive to find the same in any bytes.
func (k *kit) parsesAsReceived(tb testing.TB, parser libnet.FrameParser, in []byte) {
	tb.Helper()
	received, receiveErr := k.decode(tb, &wire{in: in})
	rest := in
	for i := 0; ; i++ {
		payload, n, err := parseFrame(tb, parser, rest)
		if n == 0 {
			want := errBroken // anything but an end
			switch {
			case err == nil && len(rest) == 0:
				want = io.EOF
			case err == nil:
				want = io.ErrUnexpectedEOF
			}
			if i != len(received) || kindOfEnd(receiveErr) != want {
				tb.Fatalf("from %.64q ParseFrame makes %d frames and then %v with %d bytes left, Receive %d and then %v: ParseFrame depends on nothing but src, and finds what Receive does",
					in, i, err, len(rest), len(received), receiveErr)
			}
			return
		}
		if i >= len(received) || !bytes.Equal(payload, received[i]) {
			tb.Fatalf("from %.64q ParseFrame makes a frame %d of %.64q, which Receive does not: ParseFrame depends on nothing but src, and finds what Receive does", in, i, payload)
		}
		rest = rest[n:]
	}
}

// kindOfEnd tells the two ends of a stream from all that can be wrong in it.
func kindOfEnd(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return err
	}
	return errBroken
}
