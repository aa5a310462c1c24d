package readbuf

import (
	"bytes"
	"testing"
)

func TestStorageFollowsWhatAPeerSends(t *testing.T) {
	var b Buffer
	var usual ReadSize
	want := func(size int, when string) {
		t.Helper()
		if got := len(b.Space(usual)); got != size {
			t.Errorf("space for %d bytes %s; want %d", got, when, size)
		}
		b.Release()
	}
	want(smallSize, "at first")
	usual.Update(smallSize)
	want(largeSize, "after a read that filled a small chunk")
	usual.Update(100) // the end of what filled it
	want(largeSize, "after one small read")
	usual.Update(1 << 20)
	for range 32 {
		usual.Update(100)
	}
	want(smallSize, "after many small reads, though once there was much")
}

func TestStorageGrowsWithAFrameThatIsNotComplete(t *testing.T) {
	var b Buffer
	defer b.Release()
	var usual ReadSize
	arrived := 0
	for _, size := range []int{smallSize, largeSize - smallSize, largeSize, 2 * largeSize} {
		p := b.Space(usual)
		if len(p) != size {
			t.Errorf("space for %d bytes behind %d; want %d", len(p), arrived, size)
		}
		for i := range p {
			p[i] = byte(arrived + i)
		}
		b.Commit(len(p))
		usual.Update(len(p))
		arrived += len(p)
	}
	for i, got := range b.Unread() {
		if got != byte(i) {
			t.Fatalf("byte %d is %d", i, got)
		}
	}
}

// TestAPartialFrameHoldsTwiceItsBytes is about what a peer that stops inside a frame can pin, however it got there.
func TestAPartialFrameHoldsTwiceItsBytes(t *testing.T) {
	const atMost = smallSize // beside twice the bytes
	for _, test := range []struct {
		how    string
		arrive func(b *Buffer, n int)
		wait   func(b *Buffer)
	}{
		{"at a descriptor", func(b *Buffer, n int) { arriveIn(b, n, func() []byte { return b.Space(0) }) }, (*Buffer).Shrink},
		{"at a descriptor, from a peer that sends much", arriveMuch, (*Buffer).Shrink},
		{"behind a large frame", arriveBehindALargeFrame, (*Buffer).Shrink},
		{"at a conn that waits with storage", func(b *Buffer, n int) { arriveIn(b, n, b.WaitingSpace) }, func(b *Buffer) { b.WaitingSpace() }},
	} {
		for n := 1; n < 4*largeSize; n += 1 + n/7 {
			for _, n := range []int{n, tinySize << poolOf(n)} {
				var b Buffer
				test.arrive(&b, n)
				test.wait(&b)
				if unread, held := len(b.Unread()), len(b.chunk.bytes); unread != n || held > 2*n+atMost {
					t.Errorf("%d bytes, %s: %d are unread and %d held", n, test.how, unread, held)
				}
				b.Release()
			}
		}
	}
}

// arriveIn commits n bytes as a receiver does that asks for space.
func arriveIn(b *Buffer, n int, space func() []byte) {
	for n > 0 {
		k := min(n, len(space()))
		b.Commit(k)
		n -= k
	}
}

func arriveMuch(b *Buffer, n int) {
	arriveIn(b, n, func() []byte { return b.Space(largeSize - 1) })
}

func arriveBehindALargeFrame(b *Buffer, n int) {
	const large = 1 << 20
	arriveMuch(b, large+n)
	b.Advance(large)
}

func TestABufferThatWaitsBetweenFramesHoldsNothing(t *testing.T) {
	var b Buffer
	arriveMuch(&b, 3*largeSize)
	b.Advance(3 * largeSize)
	b.Shrink()
	if b.chunk != nil {
		t.Errorf("it holds %d bytes", len(b.chunk.bytes))
	}
	if !b.Empty() || b.Full() || len(b.Unread()) != 0 {
		t.Error("it is not empty")
	}
}

func TestAConnThatWaitsWithStorageGetsMoreOnceItFilledThat(t *testing.T) {
	var b Buffer
	defer b.Release()
	for i, step := range []struct{ space, read int }{
		{tinySize, tinySize - 1},
		{tinySize, tinySize},
		{smallSize, smallSize},
		{smallSize, 1},
		{tinySize, 0},
	} {
		if got := len(b.WaitingSpace()); got != step.space {
			t.Errorf("read %d gets space for %d bytes; want %d", i, got, step.space)
		}
		b.Commit(step.read)
		b.Advance(step.read)
	}
}

// committed returns a buffer in which p is unread.
func committed(p []byte) *Buffer {
	b := new(Buffer)
	for rest := p; len(rest) > 0; {
		n := copy(b.Space(0), rest)
		b.Commit(n)
		rest = rest[n:]
	}
	return b
}

// copyAll copies what is unread in messages of n bytes.
func copyAll(b *Buffer, n int) (copies [][]byte) {
	for !b.Empty() {
		msg := b.Unread()[:n]
		b.Advance(n)
		copies = append(copies, b.Copy(msg))
	}
	return copies
}

func TestCopiesAreEachTheirUsersOwn(t *testing.T) {
	for _, size := range []int{1, 7, 100, ownCopy, ownCopy + 1, 5000} {
		stream := make([]byte, size*(1+8192/size))
		for i := range stream {
			stream[i] = byte(i / size)
		}
		b := committed(stream)
		copies := copyAll(b, size)
		clear(b.chunk.bytes)
		b.Release()
		for i, c := range copies {
			_ = append(c, "behind it"...)
			if !bytes.Equal(c, bytes.Repeat([]byte{byte(i)}, size)) {
				t.Fatalf("copy %d of %d bytes was changed through the buffer or another copy", i, size)
			}
			clear(c)
		}
	}
}

func TestAKeptMessageKeepsLittleBesideIt(t *testing.T) {
	alone := committed(make([]byte, 100))
	defer alone.Release()
	if c := copyAll(alone, 100)[0]; cap(alone.chunk.copies) != 100 || len(c) != 100 {
		t.Errorf("a message of 100 bytes that came alone keeps %d", cap(alone.chunk.copies))
	}
	many := committed(make([]byte, 40*100))
	defer many.Release()
	if copyAll(many, 100); cap(many.chunk.copies) > sharedCopies {
		t.Errorf("one of many messages keeps %d bytes; want %d at most", cap(many.chunk.copies), sharedCopies)
	}
}
