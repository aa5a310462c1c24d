package sendqueue

import "testing"

// An operation of these benchmarks is a message of 64 bytes, of which 64 are written at a time: what a window of
// replies costs.
const window, size = 64, 64

func BenchmarkPut(b *testing.B) {
	benchmarkPut(b, func(q *Queue, msg []byte) error {
		c := NewDraft()
		c.SetFrame(append(c.Room(), msg...))
		_, err := q.Put(c, NoLimit)
		return err
	})
}

func BenchmarkPutCopy(b *testing.B) {
	benchmarkPut(b, func(q *Queue, msg []byte) error {
		_, err := q.PutCopy(Header{0x4000, 2}, msg, &NoLimit)
		return err
	})
}

func benchmarkPut(b *testing.B, put func(q *Queue, msg []byte) error) {
	var q Queue
	msg := make([]byte, size)
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += window {
		q.ReceiverWorks()
		for range window {
			if err := put(&q, msg); err != nil {
				b.Fatal(err)
			}
		}
		if !q.ReceiverWaits(0, 0) {
			b.Fatal("nothing is to be written")
		}
		for c := q.Take(); c != nil; {
			c, _ = q.Wrote(c, len(c.Rest()))
		}
	}
}
