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
		p := in.room(arrived)
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

// TestAPartialFrameHoldsTwiceItsBytes is about what a peer that stops inside a frame can pin, however it got there.
func TestAPartialFrameHoldsTwiceItsBytes(t *testing.T) {
	const atMost = chunkSmall // beside twice the bytes
	for _, test := range []struct {
		how    string
		arrive func(in *input, n int)
		wait   func(in *input)
	}{
		{"at a descriptor", func(in *input, n int) { arriveIn(in, n, func() []byte { return in.room(0) }) }, (*input).shrink},
		{"at a descriptor, from a peer that sends much", arriveMuch, (*input).shrink},
		{"behind a large frame", arriveBehindALargeFrame, (*input).shrink},
		{"at a conn that waits with storage", func(in *input, n int) { arriveIn(in, n, in.waitingRoom) }, func(in *input) { in.waitingRoom() }},
	} {
		for n := 1; n < 4*chunkLarge; n += 1 + n/7 {
			for _, n := range []int{n, chunkTiny << chunkPool(n)} {
				var in input
				test.arrive(&in, n)
				test.wait(&in)
				if unread, held := len(in.unread()), len(in.chunk.bytes); unread != n || held > 2*n+atMost {
					t.Errorf("%d bytes, %s: %d are unread and %d held", n, test.how, unread, held)
				}
				in.release()
			}
		}
	}
}

// arriveIn enters n bytes as a receiver does that asks for room.
func arriveIn(in *input, n int, room func() []byte) {
	for n > 0 {
		p := room()
		k := min(n, len(p))
		in.chunk.w += k
		in.chunk.filled = k == len(p)
		n -= k
	}
}

func arriveMuch(in *input, n int) {
	arriveIn(in, n, func() []byte { return in.room(chunkLarge) })
}

func arriveBehindALargeFrame(in *input, n int) {
	const large = 1 << 20
	arriveMuch(in, large+n)
	in.advance(large)
}
