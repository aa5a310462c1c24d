package readbuf

import "testing"

// What a session does for each read: it takes storage, cuts the messages from what came, and gives the storage back.
func BenchmarkARead(b *testing.B) {
	for name, read := range map[string]int{"ping-pong": 66, "pipelined": largeSize - largeSize%66} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var buf Buffer
			var usual ReadSize
			for range b.N {
				n := min(read, len(buf.Space(usual)))
				n -= n % 66
				buf.Commit(n)
				usual.Update(n)
				for len(buf.Unread()) > 0 {
					buf.Advance(66)
				}
				buf.Shrink()
			}
		})
	}
}

func BenchmarkACopy(b *testing.B) {
	b.ReportAllocs()
	var buf Buffer
	defer buf.Release()
	for range b.N {
		if len(buf.Unread()) < 64 {
			buf.Shrink()
			buf.Commit(len(buf.Space(largeSize - 1)))
		}
		msg := buf.Unread()[:64]
		buf.Advance(64)
		buf.Copy(msg)
	}
}
