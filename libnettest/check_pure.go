package libnettest

import (
	"bytes"
	"io"
	"reflect"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/libnet-go/libnet"
)

// optional returns a codec as one of the optional interfaces, and ends the check when it has not got
// that one. After the check nothing may have been read from, nor written to w.
func optional[T any](tb testing.TB, k *kit) (codec T, w *wire, touched int) {
	tb.Helper()
	w = &wire{tb: tb}
	codec, ok := k.newCodec(tb, w).(T)
	if !ok {
		tb.Skipf("the codec is no %v", reflect.TypeFor[T]())
	}
	return codec, w, w.touched()
}

func appendFrame(tb testing.TB, appender libnet.FrameAppender, dst []byte, msg any) ([]byte, error) {
	tb.Helper()
	defer failOnPanic(tb, "AppendFrame")
	return appender.AppendFrame(dst, msg)
}

var prefix = []byte("before")

// prefixed is a dst with room behind it.
func prefixed(room int) []byte { return append(make([]byte, 0, len(prefix)+room), prefix...) }

func checkAppendFrame(tb testing.TB, k *kit) {
	appender, w, touched := optional[libnet.FrameAppender](tb, k)
	for _, s := range k.samples {
		frame, err := k.sendOrRefuse(tb, s)
		for _, room := range []int{0, 1, len(frame), 2*len(frame) + 64} {
			k.appendsInto(tb, appender, prefixed(room), s, frame, err)
		}
		k.appendsInto(tb, appender, nil, s, frame, err)
	}
	for _, s := range k.unusables() {
		frame, err := k.sendOrRefuse(tb, s)
		k.appendsAlike(tb, appender, s, frame, err)
	}
	k.appendsApart(tb, appender)
	k.appendsBetween(tb, appender)
	k.appendsConcurrently(tb, appender)
	if w.touched() != touched {
		tb.Fatal("AppendFrame used the connection: it depends on nothing but its arguments")
	}
}

func (k *kit) appendsAlike(tb testing.TB, appender libnet.FrameAppender, s sample, frame []byte, refused error) {
	tb.Helper()
	k.appendsInto(tb, appender, prefixed(64), s, frame, refused)
}

// appendsInto wants of AppendFrame what Send did with s: to make frame, or another that arrives as s, or an error.
func (k *kit) appendsInto(tb testing.TB, appender libnet.FrameAppender, dst []byte, s sample, frame []byte, refused error) {
	tb.Helper()
	n := len(dst)
	got, err := appendFrame(tb, appender, dst, s.msg)
	switch {
	case (err == nil) != (refused == nil):
		tb.Fatalf("AppendFrame of %s answers %v, Send %v: they must agree", s.name, err, refused)
	case err != nil && (len(got) != n || !bytes.HasPrefix(prefix, got)):
		tb.Fatalf("AppendFrame of %s failed (%v) and returned dst as %.64q, want it as it was", s.name, err, got)
	case err != nil:
	case len(got) < n || !bytes.HasPrefix(prefix, got[:n]):
		tb.Fatalf("AppendFrame of %s changed what was in dst", s.name)
	case !bytes.Equal(got[n:], frame):
		k.arrives(tb, "AppendFrame", got[n:], s)
	}
}

// appendsApart writes over each frame when the next one is made.
func (k *kit) appendsApart(tb testing.TB, appender libnet.FrameAppender) {
	tb.Helper()
	var frames [][]byte
	var copies [][]byte
	for range 2 {
		for _, s := range k.samples {
			frame, err := appendFrame(tb, appender, nil, s.msg)
			if err != nil {
				tb.Fatalf("AppendFrame of %s, once more: %v: it must keep nothing from call to call", s.name, err)
			}
			k.arrives(tb, "AppendFrame, after others were written over,", frame, s)
			frames, copies = append(frames, frame), append(copies, bytes.Clone(frame))
			for i := range frames[:len(frames)-1] {
				if len(copies[i]) > 0 && !bytes.Equal(frames[i], copies[i]) {
					tb.Fatalf("AppendFrame of %s changed a frame made before: it must not keep what it returned", s.name)
				}
			}
			if last := len(frames) - 1; last%2 == 1 {
				spoil(frame[:cap(frame)])
				copies[last] = nil
			}
		}
	}
}

func spoil(p []byte) {
	for i := range p {
		p[i] = 0xA5
	}
}

// appendsBetween puts frames that another codec has made among those that one sends, as a broadcast does.
func (k *kit) appendsBetween(tb testing.TB, appender libnet.FrameAppender) {
	tb.Helper()
	w := &wire{tb: tb}
	sender := k.newCodec(tb, w)
	for _, s := range k.samples {
		frame, err := appendFrame(tb, appender, nil, s.msg)
		if err != nil {
			tb.Fatalf("AppendFrame of %s: %v", s.name, err)
		}
		if err := send(tb, sender, s.msg); err != nil {
			tb.Fatalf("Send of %s: %v", s.name, err)
		}
		if _, err := w.Write(frame); err != nil {
			tb.Fatal(err)
		}
	}
	got, err := k.decode(tb, &wire{in: w.written()})
	if len(got) != 2*len(k.samples) || err != io.EOF {
		tb.Fatalf("frames of Send and of another codec's AppendFrame in turn: received %d messages and then %v, want %d and EOF: AppendFrame depends on nothing but its arguments",
			len(got), err, 2*len(k.samples))
	}
	for i, payload := range got {
		if s := k.samples[i/2]; s.later(payload) != nil && s.first(payload) != nil {
			tb.Fatalf("frames of Send and of another codec's AppendFrame in turn: %s %v: AppendFrame depends on nothing but its arguments", s.name, s.later(payload))
		}
	}
}

// appenders is how many goroutines append at a time.
const appenders = 4

// appendsConcurrently compares the frames that several goroutines make with those of one.
func (k *kit) appendsConcurrently(tb testing.TB, appender libnet.FrameAppender) {
	tb.Helper()
	samples := k.samples
	if k.plain != nil {
		for size := range 40 {
			if s := k.plain.make(50*size, size); k.refuses(tb, s) == nil {
				samples = append(samples[:len(samples):len(samples)], s)
			}
		}
	}
	alone := make([][]byte, len(samples))
	for i, frame := range framesConcurrently(tb, appender, samples) {
		at := i / appenders % len(samples)
		if alone[at] == nil || !bytes.Equal(frame, alone[at]) {
			k.arrives(tb, "AppendFrame by several goroutines", frame, samples[at])
			alone[at] = frame
		}
	}
}

// framesConcurrently has appenders append samples in rounds: frame i is that of sample i / appenders, modulo their
// number. Each appender's take 2 MiB at the most, or one round.
func framesConcurrently(tb testing.TB, appender libnet.FrameAppender, samples []sample) [][]byte {
	tb.Helper()
	const volume = 2 << 20
	total := 0
	for _, s := range samples {
		frame, _ := appendFrame(tb, appender, nil, s.msg)
		total += len(frame)
	}
	rounds := min(200, 1+volume/max(total, 1))
	frames := make([][]byte, appenders*rounds*len(samples))
	errs := make(chan error, appenders)
	var ready atomic.Int32
	for g := range appenders {
		start("AppendFrame", errs, func() (err error) {
			for ready.Add(1); ready.Load() < appenders; { // so that they do meet
				runtime.Gosched()
			}
			for i := g; i < len(frames) && err == nil; i += appenders {
				frames[i], err = appender.AppendFrame(nil, samples[i/appenders%len(samples)].msg)
			}
			return err
		})
	}
	for range appenders {
		if err := inTime(tb, "AppendFrame by several goroutines", errs); err != nil {
			tb.Fatalf("AppendFrame by several goroutines: %v", err)
		}
	}
	return frames
}

func checkSplitFrame(tb testing.TB, k *kit) {
	splitter, w, touched := optional[libnet.FrameSplitter](tb, k)
	var headers, payloads, kept [][]byte
	for _, s := range k.samples {
		frame, err := k.sendOrRefuse(tb, s)
		header, payload := k.splitsAlike(tb, splitter, s, frame, err)
		headers, payloads = append(headers, header), append(payloads, payload)
		kept = append(kept, bytes.Clone(header), bytes.Clone(payload))
	}
	for i, s := range k.samples {
		if !bytes.Equal(headers[i], kept[2*i]) || !bytes.Equal(payloads[i], kept[2*i+1]) {
			tb.Fatalf("SplitFrame of another message changed what it had returned for %s: it must not keep that", s.name)
		}
	}
	for _, s := range k.unusables() {
		if _, isNil := s.msg.([]byte); isNil { // which is the payload as the message holds it
			continue
		}
		frame, err := k.sendOrRefuse(tb, s)
		k.splitsAlike(tb, splitter, s, frame, err)
	}
	if w.touched() != touched {
		tb.Fatal("SplitFrame used the connection: it depends on nothing but its arguments")
	}
}

// splitsAlike wants of SplitFrame what Send did with s, or nothing at all, which leaves it to AppendFrame.
func (k *kit) splitsAlike(tb testing.TB, splitter libnet.FrameSplitter, s sample, frame []byte, refused error) (header, payload []byte) {
	tb.Helper()
	header, payload, err := split(tb, splitter, s.msg)
	switch {
	case err != nil && refused == nil:
		tb.Fatalf("SplitFrame of %s: %v; Send sends it: they must agree", s.name, err)
	case err != nil && header != nil && !bytes.Equal(header, prefix):
		tb.Fatalf("SplitFrame of %s failed (%v) and returned dst as %.64q, want it as it was", s.name, err, header)
	case err != nil:
	case payload == nil && !bytes.Equal(header, prefix):
		tb.Fatalf("SplitFrame of %s returned no payload and dst as %.64q, want it as it was", s.name, header)
	case payload == nil:
	case refused != nil:
		tb.Fatalf("SplitFrame of %s makes a frame; Send refuses it (%v): they must agree", s.name, refused)
	case !bytes.HasPrefix(header, prefix):
		tb.Fatalf("SplitFrame of %s changed what was in dst", s.name)
	default:
		if whole := append(bytes.Clone(header[len(prefix):]), payload...); !bytes.Equal(whole, frame) {
			k.arrives(tb, "SplitFrame", whole, s)
		}
	}
	return header, payload
}

func split(tb testing.TB, splitter libnet.FrameSplitter, msg any) (header, payload []byte, err error) {
	tb.Helper()
	defer failOnPanic(tb, "SplitFrame")
	return splitter.SplitFrame(prefixed(64), msg)
}
