package libnettest

import (
	"bytes"
	"math"
	"runtime/metrics"
	"testing"

	"github.com/libnet-go/libnet"
)

// checkHostile feeds bytes that no peer in its right mind sends, and the beginnings of long messages.
func checkHostile(tb testing.TB, k *kit) {
	for _, in := range k.hostile() {
		k.costs(tb, &wire{in: in})
	}
	const start = 64
	for size := 1 << 20; k.plain != nil && size >= 1<<12; size /= 4 {
		s := k.plain.make(size, 0)
		if k.refuses(tb, s) != nil {
			continue
		}
		frame, _ := k.sendOrRefuse(tb, s)
		k.costs(tb, &wire{in: frame[:min(start, len(frame))]})
		if size == 1<<18 {
			k.costs(tb, &wire{in: frame, next: chunksOf(1 << 10)})
		}
	}
}

// costs wants Receive, and ParseFrame of a codec that has it, to allocate in proportion to what arrived.
func (k *kit) costs(tb testing.TB, w *wire) {
	tb.Helper()
	limit := allocLimit(len(w.in))
	check := func(what string, f func()) {
		tb.Helper()
		if allocated := allocatedBy(f, limit); allocated > limit {
			tb.Fatalf("%d bytes made %s allocate %d, want at most %d: memory must grow with what arrived, not with what was claimed\n%.32q",
				len(w.in), what, allocated, limit, w.in)
		}
	}
	check("Receive", func() { k.decode(tb, &wire{in: w.in, next: w.next}) })
	if parser, ok := k.newCodec(tb, &wire{tb: tb}).(libnet.FrameParser); ok {
		check("ParseFrame", func() { _, _, _ = parseFrame(tb, parser, w.in) })
	}
}

// hostile returns noise, and the start of the stream with one byte of it set to the values that make
// lengths large, negative or zero. Smaller claims come first, so that a codec that believes them is
// found out by a small one.
func (k *kit) hostile() [][]byte {
	list := [][]byte{
		{0, 0, 0xff, 0xff}, {0, 0xff, 0xff, 0xff}, {0xff, 0xff, 0xff, 0}, {0xff, 0xff},
		bytes.Repeat([]byte{0}, 64), bytes.Repeat([]byte{' '}, 64), bytes.Repeat([]byte{'\n'}, 64),
		[]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
		[]byte("SSH-2.0-OpenSSH_9.9\r\n"),
		{0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03}, // a TLS ClientHello begins so
	}
	start := k.stream[:min(len(k.stream), 64)]
	for i := range min(len(start), 16) {
		for _, b := range []byte{0, 1, 0x7f, 0x80, 0xff} {
			mutated := bytes.Clone(start)
			mutated[i] = b
			list = append(list, mutated, mutated[:i+1])
		}
	}
	return append(list,
		bytes.Repeat([]byte{0x7f}, 64), bytes.Repeat([]byte{0x80}, 64), bytes.Repeat([]byte{0xff}, 64),
		append([]byte{0x80}, make([]byte, 7)...), append(make([]byte, 7), 0x80))
}

// allocLimit is what a codec may allocate for n bytes: its buffers, and a slice for each message that
// could be in them.
func allocLimit(n int) uint64 { return 256<<10 + 64*uint64(n) }

// allocatedBy returns what f allocates. Others allocate, too, so over the limit f runs again.
func allocatedBy(f func(), limit uint64) uint64 {
	least := uint64(math.MaxUint64)
	for range 3 {
		before := allocated()
		f()
		if least = min(least, allocated()-before); least <= limit {
			break
		}
	}
	return least
}

// allocated does not stop the world, as runtime.ReadMemStats does: it runs in every step of a fuzzer.
// Small objects are counted late, large ones at once.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
