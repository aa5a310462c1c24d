package readbuf

// A Buffer holds the bytes that were read and not yet consumed. The zero value is empty; an empty Buffer that was
// shrunk holds no storage.
type Buffer struct{ chunk *chunk }

// Empty reports whether nothing is unread.
func (b *Buffer) Empty() bool { return b.chunk == nil || b.chunk.r == b.chunk.w }

// Full reports whether there is no space behind the unread bytes.
func (b *Buffer) Full() bool { return b.chunk != nil && b.chunk.w == len(b.chunk.bytes) }

// Unread returns what was committed and not yet advanced over.
func (b *Buffer) Unread() []byte {
	c := b.chunk
	if c == nil {
		return nil
	}
	return c.bytes[c.r:c.w]
}

// SetSeen notes that all unread bytes were looked at, and found to be the beginning of something.
func (b *Buffer) SetSeen() { b.chunk.seen = b.chunk.w - b.chunk.r }

// Seen is how many unread bytes SetSeen has noted. There are some.
func (b *Buffer) Seen() int { return b.chunk.seen }

// Advance drops the first n unread bytes, of which there are as many; of the others none is seen.
func (b *Buffer) Advance(n int) {
	c := b.chunk
	c.seen = 0
	c.r += n
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
}

// Commit adds the first n bytes of what Space or WaitingSpace returned to the unread ones.
func (b *Buffer) Commit(n int) {
	c := b.chunk
	c.w += n
	c.filled = c.w == len(c.bytes)
}

// Small messages that arrived together are copied into one allocation of at most sharedCopies bytes: a
// user who keeps one of them keeps no more than that.
const (
	sharedCopies = 1 << 10
	ownCopy      = sharedCopies / 4
)

// Copy returns a copy of a message that was just advanced over. Storage is allocated for what is
// unread, too, as far as it may be shared, so a message that arrived alone gets its own size.
//
// It is not inlined: each session that waits for a message would have room for its variables on its stack.
//
//go:noinline
func (b *Buffer) Copy(msg []byte) []byte {
	if len(msg) > ownCopy {
		own := make([]byte, len(msg))
		copy(own, msg)
		return own
	}
	c := b.chunk
	if len(msg) > cap(c.copies)-len(c.copies) {
		c.copies = make([]byte, 0, min(len(msg)+c.w-c.r, sharedCopies))
	}
	from := len(c.copies)
	c.copies = append(c.copies, msg...)
	return c.copies[from:len(c.copies):len(c.copies)]
}

// Space returns free storage behind the unread bytes, never none: what a peer is likely to fill that sends usual
// bytes at a time, and more when a frame has filled it, so that storage follows the bytes that arrived and copying
// stays linear.
func (b *Buffer) Space(usual ReadSize) []byte {
	size, hint := smallSize, int(usual)
	if hint > smallSize/2 {
		size = largeSize
	}
	switch c := b.chunk; {
	case c == nil:
		b.chunk = getChunk(size)
	case len(c.bytes) < smallSize, len(c.bytes) < size && len(c.bytes)-c.w < 2*hint:
		b.moveTo(getChunk(size))
	case c.w == len(c.bytes):
		b.makeSpace()
	}
	return b.chunk.bytes[b.chunk.w:]
}

// makeSpace is for a full chunk.
func (b *Buffer) makeSpace() {
	c := b.chunk
	if c.w-c.r > len(c.bytes)/2 {
		b.moveTo(getChunk(2 * len(c.bytes)))
		return
	}
	c.w = copy(c.bytes, c.bytes[c.r:c.w])
	c.r = 0
}

// WaitingSpace is Space for a conn that must be given storage before it waits: very little, and a small
// chunk after a read that filled what it got. Only a frame that needs more gets more.
func (b *Buffer) WaitingSpace() []byte {
	if c := b.chunk; c != nil && c.filled && c.w-c.r <= smallSize/2 {
		if c.r > 0 || len(c.bytes) != smallSize {
			b.moveTo(getChunk(smallSize))
		}
	} else {
		b.Shrink()
	}
	if b.chunk == nil {
		b.chunk = getChunk(tinySize)
	}
	if b.Full() {
		b.makeSpace()
	}
	return b.chunk.bytes[b.chunk.w:]
}

// Shrink gives back storage that what is unread does not need, all of it when nothing is: a session that waits for the
// rest of a frame holds twice what has arrived of it at most, and tinySize more.
func (b *Buffer) Shrink() {
	unread := len(b.Unread())
	switch {
	case unread == 0:
		b.Release()
	case len(b.chunk.bytes) > 2*unread+tinySize:
		b.moveTo(getChunk(unread))
	}
}

// Release gives all storage back, and with it what was unread.
func (b *Buffer) Release() {
	if b.chunk != nil {
		putChunk(b.chunk)
		b.chunk = nil
	}
}

// moveTo moves what is unread to c, which is empty.
func (b *Buffer) moveTo(c *chunk) {
	c.w = copy(c.bytes, b.Unread())
	c.seen = b.chunk.seen
	putChunk(b.chunk)
	b.chunk = c
}
