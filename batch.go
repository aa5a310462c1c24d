package libnet

import (
	"net"
	"sync"
)

// keptBatch is the largest batch whose storage is kept for another: what a burst made grow beyond
// it goes back to the garbage collector.
const keptBatch = 128 << 10

var batches = sync.Pool{New: func() any { return new(batch) }}

// A batch is a run of frames on their way out. Frames are bytes one behind the other in buf, except
// the shared ones, which lie where the broadcast that made them put them. On a session made from a
// bare codec the messages themselves wait in msgs.
type batch struct {
	buf    []byte
	ends   []int    // ends[i] is where the i-th frame ends, counting shared bytes
	shared []extent // frames that are not in buf, in order
	msgs   []any

	size    int // bytes in all, shared ones included
	first   int // frames before this one were written or dropped
	written int // bytes before this one were written or dropped

	// While a plain codec's Send writes its frame into buf.
	open    int   // where that frame begins
	openErr error // why one of its writes was refused
}

// extent is a frame that many batches share; nobody writes to it.
type extent struct {
	at    int // its place among all bytes of the batch
	bytes []byte
}

func getBatch() *batch { return batches.Get().(*batch) }

func putBatch(b *batch) {
	if cap(b.buf) > keptBatch {
		return
	}
	clear(b.shared)
	clear(b.msgs)
	*b = batch{buf: b.buf[:0], ends: b.ends[:0], shared: b.shared[:0], msgs: b.msgs[:0]}
	batches.Put(b)
}

// commit makes what was appended to buf since the last commit a part of the last frame, or of the
// next one when message is false.
func (b *batch) commit(n int, message bool) {
	b.size += n
	if message {
		b.ends = append(b.ends, b.size)
	}
}

func (b *batch) share(frame []byte) {
	b.shared = append(b.shared, extent{b.size, frame})
	b.commit(len(frame), true)
}

// next returns bytes that lie together and are to be written next; none when all is written.
func (b *batch) next() []byte {
	at := b.written
	sharedBefore := 0 // bytes of the shared frames before at
	for _, e := range b.shared {
		if at < e.at {
			return b.buf[at-sharedBefore : e.at-sharedBefore]
		}
		if at < e.at+len(e.bytes) {
			return e.bytes[at-e.at:]
		}
		sharedBefore += len(e.bytes)
	}
	return b.buf[at-sharedBefore:]
}

// pieces returns all that is to be written, for one writev.
func (b *batch) pieces() net.Buffers {
	var pieces net.Buffers
	rest := *b
	for rest.written < rest.size {
		p := rest.next()
		pieces = append(pieces, p)
		rest.written += len(p)
	}
	return pieces
}

// wrote moves on by n bytes and returns how many frames that completed.
func (b *batch) wrote(n int) (frames int) {
	b.written += n
	if b.written == b.size {
		frames = len(b.ends) - b.first
	} else {
		for b.first+frames < len(b.ends) && b.ends[b.first+frames] <= b.written {
			frames++
		}
	}
	b.first += frames
	return frames
}

// dropFirst forgets the oldest frame, which must exist, and returns its size. Nothing of the batch may
// have been written.
func (b *batch) dropFirst() int {
	n := b.ends[b.first] - b.written
	b.written = b.ends[b.first]
	b.first++
	return n
}

func (b *batch) frames() int { return len(b.ends) - b.first }
