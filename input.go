package libnet

import "sync"

// Storage for input comes in these sizes. The largest is what one read asks the kernel for: it
// takes a pipelining peer's whole window, and a goroutine gives it back before it waits, so a few
// stay hot however many sessions there are.
const (
	chunkTiny  = 512
	chunkSmall = 4 << 10
	chunkLarge = 64 << 10
)

var (
	tinyChunks  = sync.Pool{New: func() any { return new([chunkTiny]byte) }}
	smallChunks = sync.Pool{New: func() any { return new([chunkSmall]byte) }}
	largeChunks = sync.Pool{New: func() any { return new([chunkLarge]byte) }}
)

// getChunk returns storage for at least n bytes. Beyond chunkLarge it is not pooled.
func getChunk(n int) []byte {
	switch {
	case n <= chunkTiny:
		return tinyChunks.Get().(*[chunkTiny]byte)[:]
	case n <= chunkSmall:
		return smallChunks.Get().(*[chunkSmall]byte)[:]
	case n <= chunkLarge:
		return largeChunks.Get().(*[chunkLarge]byte)[:]
	}
	return make([]byte, n)
}

func putChunk(chunk []byte) {
	switch len(chunk) {
	case chunkTiny:
		tinyChunks.Put((*[chunkTiny]byte)(chunk))
	case chunkSmall:
		smallChunks.Put((*[chunkSmall]byte)(chunk))
	case chunkLarge:
		largeChunks.Put((*[chunkLarge]byte)(chunk))
	}
}

// input holds the bytes that were read and not yet consumed. It belongs to the receiver, and is
// without storage while it is empty and the receiver waits.
type input struct {
	chunk []byte
	r, w  int // chunk[r:w] is unread

	filled bool // the last read took all the room it got: there may be more
}

func (in *input) unread() []byte { return in.chunk[in.r:in.w] }

func (in *input) advance(n int) {
	in.r += n
	if in.r == in.w {
		in.r, in.w = 0, 0
	}
}

// room returns free storage behind the unread bytes: a large chunk at first, and twice the chunk
// when a frame has filled it, so that storage follows the bytes that arrived and copying stays linear.
func (in *input) room() []byte {
	if in.chunk == nil {
		in.chunk = getChunk(chunkLarge)
	}
	unread := in.w - in.r
	switch {
	case len(in.chunk) < chunkLarge:
		in.moveTo(getChunk(chunkLarge))
	case in.w < len(in.chunk):
	case unread <= len(in.chunk)/2:
		copy(in.chunk, in.chunk[in.r:in.w])
		in.r, in.w = 0, unread
	default:
		in.moveTo(getChunk(2 * len(in.chunk)))
	}
	return in.chunk[in.w:]
}

// waitingRoom is room for a conn that must be given storage before it waits: very little, and a small
// chunk after a read that filled what it got. Only a frame that needs more gets more.
func (in *input) waitingRoom() []byte {
	if in.filled && in.w-in.r <= chunkSmall/2 {
		if in.r > 0 || len(in.chunk) != chunkSmall {
			in.moveTo(getChunk(chunkSmall))
		}
	} else {
		in.shrink()
	}
	if in.chunk == nil {
		in.chunk = getChunk(chunkTiny)
	}
	if in.w < len(in.chunk) {
		return in.chunk[in.w:]
	}
	return in.room()
}

// shrink gives back storage that what is unread does not need: all of it when nothing is.
func (in *input) shrink() {
	unread := in.w - in.r
	switch {
	case in.chunk == nil:
	case unread == 0:
		putChunk(in.chunk)
		*in = input{}
	case unread <= len(in.chunk)/8:
		in.moveTo(getChunk(unread))
	}
}

// release gives all storage back, and with it what was unread.
func (in *input) release() {
	if in.chunk != nil {
		putChunk(in.chunk)
		*in = input{}
	}
}

func (in *input) moveTo(chunk []byte) {
	n := copy(chunk, in.chunk[in.r:in.w])
	putChunk(in.chunk)
	in.chunk, in.r, in.w = chunk, 0, n
}
