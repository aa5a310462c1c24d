package libnettest

import (
	"bytes"
	"testing"

	"github.com/libnet-go/libnet"
)

// resumer is a codec that can go on in an unfinished frame: a session asks it in the place of ParseFrame for a src of
// which ParseFrame, or itself, has said that the first seen bytes end inside the frame.
type resumer interface {
	libnet.FrameParser
	ResumeFrame(src []byte, seen int) (payload []byte, n int, err error)
}

// checkResumeFrame wants of ResumeFrame what ParseFrame finds, in whatever pieces a frame arrives.
func checkResumeFrame(tb testing.TB, k *kit) {
	codec, w, touched := optional[resumer](tb, k)
	for i := range k.payloads {
		frame := k.stream[k.ends[i]:k.ends[i+1]]
		for _, seen := range within(len(frame)) {
			k.resumesAsParsed(tb, codec, k.stream[k.ends[i]:], seen)
			for _, end := range append(within(len(frame)), len(frame)) {
				if end >= seen {
					k.resumesAsParsed(tb, codec, frame[:end:end], seen)
				}
			}
		}
	}
	for _, in := range k.hostile() {
		for _, seen := range within(len(in)) {
			k.resumesAsParsed(tb, codec, in, seen)
		}
	}
	if w.touched() != touched {
		tb.Fatal("ResumeFrame used the connection: it depends on nothing but its arguments")
	}
}

// within are places in n bytes: a few at each end, and some between.
func within(n int) (list []int) {
	const near, between = 8, 5
	for at := 1; at < n; at++ {
		if at <= near || n-at <= near || at%max(n/between, 1) == 0 {
			list = append(list, at)
		}
	}
	return list
}

func (k *kit) resumesAsParsed(tb testing.TB, codec resumer, src []byte, seen int) {
	tb.Helper()
	if _, n, err := guardedParse(tb, codec, src[:seen:seen]); n != 0 || err != nil {
		return // ResumeFrame is not asked
	}
	want, wantN, wantErr := guardedParse(tb, codec, src)
	defer failOnPanic(tb, "ResumeFrame")
	payload, n, err := codec.ResumeFrame(src, seen)
	if n != wantN || (err == nil) != (wantErr == nil) || !bytes.Equal(payload, want) {
		tb.Fatalf("ResumeFrame of %d bytes, %d of them seen, = %.64q, %d, %v; ParseFrame = %.64q, %d, %v: ResumeFrame finds what ParseFrame finds",
			len(src), seen, payload, n, err, want, wantN, wantErr)
	}
	if n > 0 && cap(payload) > len(payload) && n < len(src) {
		spoiled := bytes.Clone(src)
		if payload, _, _ = codec.ResumeFrame(spoiled, seen); cap(payload) > len(payload) {
			spoil(payload[len(payload):cap(payload)])
		}
		if !bytes.Equal(spoiled[n:], src[n:]) {
			tb.Fatalf("the payload of ResumeFrame has a capacity that reaches into the next frame: an append to it destroys that")
		}
	}
}
