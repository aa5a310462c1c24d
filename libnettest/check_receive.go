package libnettest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
)

// errBroken is what a transport fails with in the checks.
var errBroken = errors.New("libnettest: the connection broke")

// compare fails tb unless got are the first n payloads of the stream.
func (k *kit) compare(tb testing.TB, how string, got [][]byte, n int) {
	tb.Helper()
	if len(got) != n {
		tb.Fatalf("%s: received %d messages, want %d", how, len(got), n)
	}
	for i, payload := range got {
		if !bytes.Equal(payload, k.payloads[i]) {
			tb.Fatalf("%s: message %d arrived as %.64q, in one piece as %.64q", how, i, payload, k.payloads[i])
		}
	}
}

func checkSplit(tb testing.TB, k *kit) {
	whole := func(how string, w *wire) {
		tb.Helper()
		w.in = k.stream
		got, err := k.decode(tb, w)
		k.compare(tb, how, got, len(k.samples))
		if err != io.EOF {
			tb.Fatalf("%s: ended with %v, want EOF", how, err)
		}
	}
	const longestDribble = 64 << 10 // reads
	size := 1 + len(k.stream)/longestDribble
	whole(fmt.Sprintf("reads of %d bytes", size), &wire{next: chunksOf(size)})
	whole("reads of 3 bytes more", &wire{next: chunksOf(size + 3)})
	whole("the last bytes together with EOF", &wire{withEnd: true})
	whole("the last byte together with EOF", &wire{withEnd: true, next: cutAt(len(k.stream) - 1)})
	whole("every other read brings nothing, without an error", &wire{empty: true, next: chunksOf(size + 1)})
	for _, position := range k.positions() {
		whole(fmt.Sprintf("two reads, the first of %d bytes", position), &wire{next: cutAt(position)})
	}
}

func checkTruncated(tb testing.TB, k *kit) {
	for _, position := range k.positions() {
		how := fmt.Sprintf("the stream ends after %d of %d bytes", position, len(k.stream))
		want := io.ErrUnexpectedEOF
		if k.between(position) {
			want = io.EOF
		}
		for _, withEnd := range []bool{false, true} {
			w := &wire{tb: tb, in: k.stream[:position], withEnd: withEnd}
			k.receiveUntil(tb, how, w, want)
		}
	}
}

func checkReadError(tb testing.TB, k *kit) {
	for _, position := range k.positions() {
		how := fmt.Sprintf("the reader fails after %d of %d bytes", position, len(k.stream))
		for _, withEnd := range []bool{false, true} {
			w := &wire{tb: tb, in: k.stream[:position], end: errBroken, withEnd: withEnd}
			k.receiveUntil(tb, how, w, errBroken)
		}
	}
}

// receiveUntil wants the whole messages, then the error, and then errors again and again.
func (k *kit) receiveUntil(tb testing.TB, how string, w *wire, want error) {
	tb.Helper()
	codec := k.newCodec(tb, w)
	var got [][]byte
	var err error
	for err == nil && len(got) <= len(k.samples) {
		var payload []byte
		if payload, err = receive(tb, codec, w); err == nil {
			got = append(got, bytes.Clone(payload))
		}
	}
	k.compare(tb, how, got, k.complete(len(w.in)))
	if !is(err, want) || want != io.EOF && is(err, io.EOF) || want == io.EOF && err != io.EOF {
		tb.Fatalf("%s: Receive returned %v, want %v", how, err, want)
	}
	for range 3 {
		if payload, err := receive(tb, codec, w); err == nil {
			tb.Fatalf("%s: Receive returned %v and then %.64q without an error", how, want, payload)
		}
	}
}

// checkOwnership writes over what Receive returned, and over what an append would write to, with
// other bytes for each message.
func checkOwnership(tb testing.TB, k *kit) {
	w := &wire{tb: tb, in: k.stream}
	codec := k.newCodec(tb, w)
	kept := make([][]byte, len(k.payloads))
	mark := func(i int) byte { return byte(0xA5 + i) }
	for i := range k.payloads {
		payload, err := receive(tb, codec, w)
		if err != nil {
			tb.Fatalf("Receive of message %d: %v", i, err)
		}
		if !bytes.Equal(payload, k.payloads[i]) {
			tb.Fatalf("message %d changed because message %d was written to: Receive must return memory of its own", i, i-1)
		}
		kept[i] = payload
		for j := range payload[:cap(payload)] {
			payload[:cap(payload)][j] = mark(i)
		}
	}
	for i, payload := range kept {
		for _, b := range payload {
			if b != mark(i) {
				tb.Fatalf("message %d changed when a later one was received: Receive must return memory of its own", i)
			}
		}
	}
}
