package libnet

import "testing"

func TestStorageFollowsWhatAPeerSends(t *testing.T) {
	s := new(Session)
	room := func() int {
		defer s.in.release()
		return len(s.in.room(int(s.usualRead)))
	}
	want := func(size int, when string) {
		t.Helper()
		if got := room(); got != size {
			t.Errorf("room for %d bytes %s; want %d", got, when, size)
		}
	}
	want(chunkSmall, "at first")
	s.expectRead(chunkSmall)
	want(chunkLarge, "after a read that filled a small chunk")
	s.expectRead(100) // the end of what filled it
	want(chunkLarge, "after one small read")
	s.expectRead(1 << 20)
	for range 32 {
		s.expectRead(100)
	}
	want(chunkSmall, "after many small reads, though once there was much")
}

func TestStorageGrowsWithAFrameThatIsNotComplete(t *testing.T) {
	var in input
	defer in.release()
	arrived := 0
	for _, size := range []int{chunkSmall, chunkLarge - chunkSmall, chunkLarge, 2 * chunkLarge} {
		p := in.room(0)
		if len(p) != size {
			t.Errorf("room for %d bytes behind %d; want %d", len(p), arrived, size)
		}
		for i := range p {
			p[i] = byte(arrived + i)
		}
		in.chunk.w += len(p)
		arrived += len(p)
	}
	for i, b := range in.unread() {
		if b != byte(i) {
			t.Fatalf("byte %d is %d", i, b)
		}
	}
}
