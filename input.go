package libnet

import (
	"math/bits"
	"sync"

	"github.com/libnet-go/libnet/internal/lock"
)

// Storage for input comes in powers of two. A large chunk is what one read asks the kernel for, unless a frame needs
// more: it takes a pipelining peer's whole window, and a goroutine gives it back before it waits, so a few stay hot
// however many sessions there are.
const (
	chunkTiny  = 512
	chunkSmall = 4 << 10
	chunkLarge = 64 << 10
)

// chunkPools has a pool for each size from chunkTiny to 2 MiB, which holds a frame of the default MaxMessage.
var chunkPools [13]sync.Pool

func fromPool(i int) *chunk {
	if c, ok := chunkPools[i].Get().(*chunk); ok {
		return c
	}
	return newChunk(chunkTiny << i)
}

// chunkPool returns the number of the pool of the smallest chunks that hold n bytes; beyond the last there is none.
func chunkPool(n int) int { return bits.Len(uint(max(n, 1)-1) / chunkTiny) }

// keptChunks keeps large chunks beyond collections, which empty a sync.Pool. A server whose own heap is small
// is collected many times a second, and each time its receivers wait with a chunk in hand: making, faulting in and
// giving back those chunks cost more than all else that libnet does with a small message. In use or not, they also
// make such a heap large enough to be collected less often.
var keptChunks chunkList

// maxKeptChunks bounds what is kept: 4 MiB.
const maxKeptChunks = 64

// A chunkList is a stack, so that few chunks stay hot. Who finds it taken goes to the pool: nobody waits.
type chunkList struct {
	mu   lock.Mutex[chunksLock]
	free []*chunk
}

func (l *chunkList) get() *chunk {
	if l.mu.TryLock() {
		defer l.mu.Unlock()
		if last := len(l.free) - 1; last >= 0 {
			c := l.free[last]
			l.free = l.free[:last]
			return c
		}
	}
	return fromPool(chunkPool(chunkLarge))
}

func (l *chunkList) put(c *chunk) {
	if l.mu.TryLock() {
		defer l.mu.Unlock()
		if len(l.free) < maxKeptChunks {
			l.free = append(l.free, c)
			return
		}
	}
	chunkPools[chunkPool(chunkLarge)].Put(c)
}

// A chunk is storage for input.
type chunk struct {
	bytes []byte
	r, w  int // bytes[r:w] is unread

	filled bool // the last read took all the room it got: there may be more

	copies []byte // what keep cuts copies from
}

func newChunk(n int) *chunk { return &chunk{bytes: make([]byte, n)} }

// getChunk returns an empty chunk for at least n bytes.
func getChunk(n int) *chunk {
	switch i := chunkPool(n); {
	case i == chunkPool(chunkLarge):
		return keptChunks.get()
	case i < len(chunkPools):
		return fromPool(i)
	default:
		return newChunk(chunkTiny << i)
	}
}

func putChunk(c *chunk) {
	c.r, c.w, c.filled, c.copies = 0, 0, false, nil
	switch i := chunkPool(len(c.bytes)); {
	case i == chunkPool(chunkLarge):
		keptChunks.put(c)
	case i < len(chunkPools):
		chunkPools[i].Put(c)
	}
}

// input holds the bytes that were read and not yet consumed. It belongs to the receiver, and is
// without a chunk while it is empty and the receiver waits.
type input struct{ chunk *chunk }

func (in *input) empty() bool { return in.chunk == nil || in.chunk.r == in.chunk.w }

// full reports whether the chunk has no room behind the unread bytes.
func (in *input) full() bool { return in.chunk != nil && in.chunk.w == len(in.chunk.bytes) }

func (in *input) unread() []byte {
	c := in.chunk
	if c == nil {
		return nil
	}
	return c.bytes[c.r:c.w]
}

func (in *input) advance(n int) {
	c := in.chunk
	c.r += n
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
}

// Small messages that arrived together are copied into one allocation of at most keptTogether bytes: a
// user who keeps one of them keeps no more than that.
const (
	keptTogether = 1 << 10
	keptAlone    = keptTogether / 4
)

// keep returns a copy of a message that was just cut from the chunk. Storage is allocated for what is
// unread, too, as far as it may be shared, so a message that arrived alone gets its own size.
func (in *input) keep(msg []byte) []byte {
	if len(msg) > keptAlone {
		alone := make([]byte, len(msg))
		copy(alone, msg)
		return alone
	}
	c := in.chunk
	if len(msg) > cap(c.copies)-len(c.copies) {
		c.copies = make([]byte, 0, min(len(msg)+c.w-c.r, keptTogether))
	}
	from := len(c.copies)
	c.copies = append(c.copies, msg...)
	return c.copies[from:len(c.copies):len(c.copies)]
}

// room returns free storage behind the unread bytes: what a peer that sends hint bytes at a time is likely to fill, and
// more when a frame has filled it, so that storage follows the bytes that arrived and copying stays linear.
func (in *input) room(hint int) []byte {
	size := chunkSmall
	if hint > chunkSmall/2 {
		size = chunkLarge
	}
	switch c := in.chunk; {
	case c == nil:
		in.chunk = getChunk(size)
	case len(c.bytes) < chunkSmall, len(c.bytes) < size && len(c.bytes)-c.w < 2*hint:
		in.moveTo(getChunk(size))
	case c.w == len(c.bytes):
		in.makeRoom()
	}
	return in.chunk.bytes[in.chunk.w:]
}

// makeRoom is for a full chunk.
func (in *input) makeRoom() {
	c := in.chunk
	if c.w-c.r > len(c.bytes)/2 {
		in.moveTo(getChunk(2 * len(c.bytes)))
		return
	}
	c.w = copy(c.bytes, c.bytes[c.r:c.w])
	c.r = 0
}

// waitingRoom is room for a conn that must be given storage before it waits: very little, and a small
// chunk after a read that filled what it got. Only a frame that needs more gets more.
func (in *input) waitingRoom() []byte {
	if c := in.chunk; c != nil && c.filled && c.w-c.r <= chunkSmall/2 {
		if c.r > 0 || len(c.bytes) != chunkSmall {
			in.moveTo(getChunk(chunkSmall))
		}
	} else {
		in.shrink()
	}
	if in.chunk == nil {
		in.chunk = getChunk(chunkTiny)
	}
	if in.full() {
		in.makeRoom()
	}
	return in.chunk.bytes[in.chunk.w:]
}

// shrink gives back storage that what is unread does not need, all of it when nothing is: a session that waits for the
// rest of a frame holds twice what has arrived of it at most, and chunkTiny more.
func (in *input) shrink() {
	unread := len(in.unread())
	switch {
	case unread == 0:
		in.release()
	case len(in.chunk.bytes) > 2*unread+chunkTiny:
		in.moveTo(getChunk(unread))
	}
}

// release gives all storage back, and with it what was unread.
func (in *input) release() {
	if in.chunk != nil {
		putChunk(in.chunk)
		in.chunk = nil
	}
}

// moveTo moves what is unread to c, which is empty.
func (in *input) moveTo(c *chunk) {
	c.w = copy(c.bytes, in.unread())
	putChunk(in.chunk)
	in.chunk = c
}
