package libnettest

import (
	"bytes"
	"testing"

	"github.com/libnet-go/libnet"
)

// FuzzProtocol is the body of a fuzz target for a protocol's codecs:
//
//	func FuzzMyProtocol(f *testing.F) { libnettest.FuzzProtocol(f, myProtocol, "", "hello") }
//
// It checks that arbitrary bytes, however they are cut into reads, never make Receive panic, go on
// without end or allocate for more than has arrived; that every cut gives the same messages and the
// same kind of end; and that ParseFrame, of a codec that has it, finds the same. If one of the
// messages is a []byte or string that arrives as its own bytes, it also sends the arbitrary bytes as
// one, which must arrive or be refused. The messages' frames, whole and torn, are the seeds.
func FuzzProtocol(f *testing.F, p libnet.Protocol, messages ...any) {
	f.Helper()
	k := newKit(f, p, messages)
	f.Add(k.stream, []byte{0})
	f.Add(k.stream, []byte{2, 0, 6})
	f.Add(k.stream[:len(k.stream)-1], []byte{1})
	for _, in := range k.hostile() {
		f.Add(in, []byte{255})
	}
	f.Fuzz(func(t *testing.T, data, cuts []byte) { fuzzOnce(t, k, data, cuts) })
}

func fuzzOnce(tb testing.TB, k *kit, data, cuts []byte) {
	var whole [][]byte
	var wholeErr error
	limit := allocLimit(len(data))
	allocated := allocatedBy(func() { whole, wholeErr = k.decode(tb, &wire{in: data}) }, limit)
	if allocated > limit {
		tb.Fatalf("%d bytes made Receive allocate %d, want at most %d", len(data), allocated, limit)
	}

	read := 0
	cut, cutErr := k.decode(tb, &wire{in: data, next: func(from int) int {
		if len(cuts) == 0 {
			return len(data)
		}
		size := int(cuts[read%len(cuts)]) + 1
		read++
		return from + size
	}})
	if len(cut) != len(whole) || kindOfEnd(cutErr) != kindOfEnd(wholeErr) {
		tb.Fatalf("in one piece the bytes are %d messages and then %v, cut they are %d and then %v", len(whole), wholeErr, len(cut), cutErr)
	}
	for i := range whole {
		if !bytes.Equal(whole[i], cut[i]) {
			tb.Fatalf("message %d is %.64q in one piece and %.64q when cut", i, whole[i], cut[i])
		}
	}

	if parser, ok := k.newCodec(tb, &wire{tb: tb}).(libnet.FrameParser); ok {
		k.parsesAsReceived(tb, parser, data)
	}
	if k.plain != nil && !k.plain.isJSON {
		k.sendOrRefuse(tb, k.plain.of(data))
	}
}
