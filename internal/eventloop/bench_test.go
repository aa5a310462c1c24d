package eventloop

import "testing"

func BenchmarkState(b *testing.B) {
	var s State
	s.Start(false)
	s.end()
	for b.Loop() {
		s.begin()
		s.release()
	}
}
