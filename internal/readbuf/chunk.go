package readbuf

import (
	"math/bits"
	"sync"

	"github.com/libnet-go/libnet/internal/lock"
)

// Chunks come in powers of two. A large one is what one read asks the kernel for, unless a frame needs more: it
// takes a pipelining peer's whole window, and a goroutine gives it back before it waits, so a few stay hot
// however many sessions there are.
const (
	tinySize  = 512
	smallSize = 4 << 10
	largeSize = 64 << 10
)

// A chunk is storage of a buffer.
type chunk struct {
	bytes []byte
	r, w  int // bytes[r:w] is unread
	seen  int // of these, how many were looked at in vain

	filled bool // the last read took all the space it got: there may be more

	copies []byte // what Buffer.Copy cuts copies from
}

func newChunk(n int) *chunk { return &chunk{bytes: make([]byte, n)} }

// pools has a pool for each size from tinySize to 2 MiB, which holds a frame of the default MaxMessage.
var pools [13]sync.Pool

func fromPool(i int) *chunk {
	if c, ok := pools[i].Get().(*chunk); ok {
		return c
	}
	return newChunk(tinySize << i)
}

// poolOf returns the number of the pool of the smallest chunks that hold n bytes; beyond the last there is none.
func poolOf(n int) int { return bits.Len(uint(max(n, 1)-1) / tinySize) }

// getChunk returns an empty chunk for at least n bytes.
func getChunk(n int) *chunk {
	switch i := poolOf(n); {
	case i == poolOf(largeSize):
		return freeLarge.get()
	case i < len(pools):
		return fromPool(i)
	default:
		return newChunk(tinySize << i)
	}
}

func putChunk(c *chunk) {
	c.r, c.w, c.seen, c.filled, c.copies = 0, 0, 0, false, nil
	switch i := poolOf(len(c.bytes)); {
	case i == poolOf(largeSize):
		freeLarge.put(c)
	case i < len(pools):
		pools[i].Put(c)
	}
}

// freeLarge keeps large chunks beyond collections, which empty a sync.Pool. A server whose own heap is small
// is collected many times a second, and each time its receivers wait with a chunk in hand: making, faulting in and
// giving back those chunks cost more than all else that libnet does with a small message. In use or not, they also
// make such a heap large enough to be collected less often.
var freeLarge freeList

// maxFree bounds what is kept: 4 MiB.
const maxFree = 64

// A freeList is a stack, so that few chunks stay hot. Who finds it taken goes to the pool: nobody waits.
type freeList struct {
	mu     lock.Mutex[chunksLock]
	chunks []*chunk
}

// chunksLock is the class of the lock in docs/locks.md.
type chunksLock struct{}

func (l *freeList) get() *chunk {
	if l.mu.TryLock() {
		defer l.mu.Unlock()
		if last := len(l.chunks) - 1; last >= 0 {
			c := l.chunks[last]
			l.chunks = l.chunks[:last]
			return c
		}
	}
	return fromPool(poolOf(largeSize))
}

func (l *freeList) put(c *chunk) {
	if l.mu.TryLock() {
		defer l.mu.Unlock()
		if len(l.chunks) < maxFree {
			l.chunks = append(l.chunks, c)
			return
		}
	}
	pools[poolOf(largeSize)].Put(c)
}
