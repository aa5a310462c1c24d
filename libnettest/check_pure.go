package libnettest

import (
	"bytes"
	"io"
	"reflect"
	"sync"
	"testing"

	"github.com/libnet-go/libnet"
)

// optional returns a codec as one of the optional interfaces, and ends the check when it has not got
// that one.
func optional[T any](tb testing.TB, k *kit) T {
	tb.Helper()
	codec, ok := k.newCodec(tb, &wire{tb: tb}).(T)
	if !ok {
		tb.Skipf("the codec is no %v", reflect.TypeFor[T]())
	}
	return codec
}

// arrives fails tb unless frame is received as message i, and as nothing else.
func (k *kit) arrives(tb testing.TB, what string, frame []byte, i int) {
	tb.Helper()
	got, err := k.decode(tb, &wire{in: frame})
	if len(got) != 1 || !(k.varies || bytes.Equal(got[0], k.payloads[i])) {
		tb.Fatalf("%s of message %d made %.64q, which is received as %d messages and then %v, not as the message that Send sends",
			what, i, frame, len(got), err)
	}
}

func appendFrame(tb testing.TB, appender libnet.FrameAppender, dst []byte, msg any) ([]byte, error) {
	tb.Helper()
	defer failOnPanic(tb, "AppendFrame")
	return appender.AppendFrame(dst, msg)
}

func checkAppendFrame(tb testing.TB, k *kit) {
	appender := optional[libnet.FrameAppender](tb, k)
	prefix := []byte("before")
	dst := func() []byte { return append(make([]byte, 0, 64), prefix...) }

	for i, msg := range k.messages {
		frame, err := appendFrame(tb, appender, dst(), msg)
		if err != nil {
			tb.Fatalf("AppendFrame of message %d: %v; Send sends it", i, err)
		}
		if !bytes.HasPrefix(frame, prefix) {
			tb.Fatalf("AppendFrame of message %d changed what was in dst", i)
		}
		k.arrives(tb, "AppendFrame", frame[len(prefix):], i)
	}
	for _, msg := range unusables() {
		got, err := appendFrame(tb, appender, dst(), msg)
		if err != nil && !bytes.Equal(got, prefix) {
			tb.Fatalf("AppendFrame of a %T failed (%v) and returned dst as %q, want it as it was", msg, err, got)
		}
		if sendErr := k.trySend(tb, msg); (err == nil) != (sendErr == nil) {
			tb.Fatalf("AppendFrame of a %T answers %v, Send %v", msg, err, sendErr)
		}
	}
	for _, size := range longSizes {
		msg, _ := k.long(size)
		if msg == nil {
			break
		}
		got, err := appendFrame(tb, appender, dst(), msg)
		if err != nil && !bytes.Equal(got, prefix) {
			tb.Fatalf("AppendFrame of %d bytes failed (%v) and returned a dst of %d bytes, want it as it was", size, err, len(got))
		}
		if sendErr := k.trySend(tb, msg); (err == nil) != (sendErr == nil) {
			tb.Fatalf("AppendFrame of %d bytes answers %v, Send %v", size, err, sendErr)
		}
	}
	k.appendConcurrently(tb, appender)
}

func (k *kit) trySend(tb testing.TB, msg any) error {
	tb.Helper()
	return send(tb, k.newCodec(tb, &wire{tb: tb}), msg)
}

func (k *kit) appendConcurrently(tb testing.TB, appender libnet.FrameAppender) {
	tb.Helper()
	const goroutines = 4
	frames := make([][][]byte, goroutines)
	var wg sync.WaitGroup
	for g := range goroutines {
		frames[g] = make([][]byte, len(k.messages))
		wg.Go(func() {
			for i, msg := range k.messages {
				frames[g][i], _ = appender.AppendFrame(nil, msg)
			}
		})
	}
	wg.Wait()
	for _, list := range frames {
		for i, frame := range list {
			k.arrives(tb, "AppendFrame by several goroutines", frame, i)
		}
	}
}

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
	parser := optional[libnet.FrameParser](tb, k)
	if k.ends[0] != 0 {
		tb.Fatal("a codec that sends something before the first message cannot have ParseFrame, which depends on nothing but src")
	}
	for i := range k.payloads {
		start, end := k.ends[i], k.ends[i+1]
		payload, n, err := parseFrame(tb, parser, k.stream[start:])
		if n != end-start || err != nil || !bytes.Equal(payload, k.payloads[i]) {
			tb.Fatalf("ParseFrame of frame %d = %.64q, %d, %v; Receive returns %.64q, and the frame is of %d bytes",
				i, payload, n, err, k.payloads[i], end-start)
		}
	}
	for _, position := range k.positions() {
		start := k.ends[min(k.complete(position), len(k.messages))]
		if payload, n, err := parseFrame(tb, parser, k.stream[start:position]); n != 0 || err != nil {
			tb.Fatalf("ParseFrame of a frame's first %d bytes = %.64q, %d, %v; want n = 0 and no error", position-start, payload, n, err)
		}
	}
	for _, in := range k.hostile() {
		k.parsesAsReceived(tb, parser, in)
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
				tb.Fatalf("from %.64q ParseFrame makes %d frames and then %v with %d bytes left, Receive %d and then %v",
					in, i, err, len(rest), len(received), receiveErr)
			}
			return
		}
		if i >= len(received) || !bytes.Equal(payload, received[i]) {
			tb.Fatalf("from %.64q ParseFrame makes a frame %d of %.64q, which Receive does not", in, i, payload)
		}
		rest = rest[n:]
	}
}

func checkSplitFrame(tb testing.TB, k *kit) {
	splitter := optional[libnet.FrameSplitter](tb, k)
	prefix := []byte("before")
	split := func(msg any) (header, payload []byte, err error) {
		defer failOnPanic(tb, "SplitFrame")
		return splitter.SplitFrame(append(make([]byte, 0, 64), prefix...), msg)
	}
	for i, msg := range k.messages {
		header, payload, err := split(msg)
		switch {
		case err != nil:
			tb.Fatalf("SplitFrame of message %d: %v; Send sends it", i, err)
		case payload == nil && !bytes.Equal(header, prefix):
			tb.Fatalf("SplitFrame of message %d returned no payload and dst as %.64q, want it as it was", i, header)
		case payload == nil:
		case !bytes.HasPrefix(header, prefix):
			tb.Fatalf("SplitFrame of message %d changed what was in dst", i)
		default:
			k.arrives(tb, "SplitFrame", append(header[len(prefix):], payload...), i)
		}
	}
	for _, msg := range unusables() {
		header, payload, err := split(msg)
		if err == nil && payload == nil && !bytes.Equal(header, prefix) {
			tb.Fatalf("SplitFrame of a %T returned no payload and dst as %q, want it as it was", msg, header)
		}
	}
}

// kindOfEnd tells the two ends of a stream from all that can be wrong in it.
func kindOfEnd(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return err
	}
	return errBroken
}
