package eventloop_test

import (
	"sync"
	"testing"
)

var oneByte = sync.Pool{New: func() any { return new([1]byte) }}

// One event at a time: a byte is written, the poller wakes up, and the source reads it.
func BenchmarkEvent(b *testing.B) {
	loop, h := start(b)
	_, peer := h.add(loop, 1, func(s *source) bool {
		one := oneByte.Get().(*[1]byte)
		defer oneByte.Put(one)
		_, _ = s.conn.Read(one[:])
		_, _ = s.conn.Write(one[:])
		return false
	})
	one := make([]byte, 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := peer.Write(one); err != nil {
			b.Fatal(err)
		}
		if _, err := peer.Read(one); err != nil {
			b.Fatal(err)
		}
	}
}
