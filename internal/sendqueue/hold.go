package sendqueue

import "bytes"

// A queue can be held: whoever holds it is the one who flushes, and does not. Sends go on to fill it. What is half
// written stays in flight, so nothing of it is dropped, or written twice.

// Hold has nobody write from the queue until Unhold. False says that somebody writes still: he stops when his write
// returns, and the caller asks again; or that the queue takes no messages any more.
func (q *Queue) Hold() (held bool) {
	q.lock()
	defer q.mu.Unlock()
	switch {
	case q.state != open:
		return false
	case q.flushing == noFlush, q.flushing == flushAwaited:
		q.flushing = flushHeld
	case q.flushing == flushUnderWay:
		q.flushing = flushYields
	}
	return q.flushing == flushHeld
}

// yieldLocked ends a flush that is asked to. A synchronous Send then returns as if its message was written: that is the
// queue's from now on, and what lies in the sender's memory is copied.
func (q *Queue) yieldLocked() {
	q.flushing = flushHeld
	if b := q.inflight; b != nil && b.own {
		b.keep()
	}
}

// keep makes b the queue's, whose sender does not wait for it any more.
func (b *Batch) keep() {
	b.own = false
	for i := range b.shared {
		b.shared[i].bytes = bytes.Clone(b.shared[i].bytes)
	}
}

// What a held queue takes of senders who else would each wait for their turn.
const (
	heldMessages = 64
	heldRoom     = 1 << 20 // bytes
)

// takesHeldLocked reports whether a held queue has room for a message that would else wait for its turn. An empty one
// takes any.
func (q *Queue) takesHeldLocked(msg *Batch) bool {
	return q.messages == 0 || q.messages < heldMessages && q.bytes+msg.size <= heldRoom
}

// Unhold takes a Hold back, also one that was not granted yet. True says that something is queued, and that the caller
// has begun a flush.
func (q *Queue) Unhold() (begun bool) {
	q.lock()
	defer q.mu.Unlock()
	if q.sealedLocked() && !q.state.isClosed() { // what was closed meanwhile may be another's: it takes no last frame
		q.rare.sealed = false
		q.admitLocked()
	}
	switch {
	case q.flushing == flushYields:
		q.flushing = flushUnderWay
	case q.flushing == flushHeld && (q.inflight == nil && q.front == nil || q.state.isClosed()):
		q.endLocked()
	case q.flushing == flushHeld:
		q.flushing = flushUnderWay
		return true
	}
	return false
}

// Contents is what a queue holds that is not written, for another queue to go on with.
type Contents struct {
	// Sizes has the length of each frame, and the complement of it for bytes that belong to no message. Bytes are all
	// of them.
	Sizes []int
	Bytes []byte

	// Cut says that the first is the rest of a frame of which something is written.
	Cut bool

	MessagesOut, BytesOut, Discarded, Dropped uint64
}

// Seal returns what a held queue has, and has it take nothing until Unhold takes that back: whoever would wait for room
// does, and who would not is refused. Whoever closes it meanwhile has no last frame to write. Not ok says that it is
// not held, or takes no messages any more.
func (q *Queue) Seal() (c Contents, ok bool) {
	q.lock()
	defer q.mu.Unlock()
	if q.flushing != flushHeld || q.state != open || q.sealedLocked() {
		return c, false
	}
	q.rareLocked().sealed = true
	c.MessagesOut, c.BytesOut = q.messagesOut, q.bytesOut
	c.Discarded, c.Dropped = q.rare.discarded, q.rare.dropped
	if q.bytes == 0 && q.messages == 0 {
		return c, true
	}
	c.Bytes = make([]byte, 0, q.bytes)
	if q.inflight != nil {
		c.Cut = q.inflight.written > 0
		c.add(q.inflight)
	}
	for b := q.front; b != nil; b = b.next {
		c.add(b)
	}
	return c, true
}

func (q *Queue) sealedLocked() bool { return q.rare != nil && q.rare.sealed }

// add appends what of b is to be written.
func (c *Contents) add(b *Batch) {
	at := b.written
	for _, p := range b.parts[b.first:] {
		n := p.end() - at
		at = p.end()
		if !p.isMessage() {
			n = ^n
		}
		c.Sizes = append(c.Sizes, n)
	}
	for left := *b; left.written < left.size; {
		p := left.Rest()
		c.Bytes = append(c.Bytes, p...)
		left.written += len(p)
	}
}

// Surrender empties a sealed queue, whose contents another has: they are neither written nor discarded.
func (q *Queue) Surrender() {
	q.lock()
	defer q.mu.Unlock()
	q.emptyLocked()
	q.state = max(q.state, draining)
}

// Valid reports whether c is what a Seal can have returned.
func (c *Contents) Valid() bool {
	left := len(c.Bytes)
	for _, n := range c.Sizes {
		if n < 0 {
			n = ^n
		}
		if left -= n; left < 0 {
			return false
		}
	}
	return left == 0 && (!c.Cut || len(c.Sizes) > 0)
}

// Restore puts what another queue had before what this one, which is held, has. c is valid. A queue that was closed
// meanwhile takes nothing: not ok says so.
func (q *Queue) Restore(c Contents) (ok bool) {
	q.lock()
	defer q.mu.Unlock()
	if q.state.isClosed() {
		return false
	}
	q.restoreLocked(c)
	q.inheritLocked(&c)
	return true
}

// Lose counts what Restore did not take: as discarded where it was to be written, which lost says.
func (q *Queue) Lose(c Contents) (lost uint64) {
	q.lock()
	defer q.mu.Unlock()
	for _, size := range c.Sizes {
		if size >= 0 {
			lost++
		}
	}
	c.Discarded += lost
	q.inheritLocked(&c)
	return lost
}

// inheritLocked adds what another queue has counted.
func (q *Queue) inheritLocked(c *Contents) {
	q.messagesOut += c.MessagesOut
	q.bytesOut += c.BytesOut
	if c.Discarded > 0 {
		r := q.rareLocked()
		r.discarded += c.Discarded
		r.dropped += c.Dropped
	}
}

func (q *Queue) restoreLocked(c Contents) {
	front, back := q.front, q.back
	q.front, q.back = nil, nil
	rest := c.Bytes
	for i, n := range c.Sizes {
		if n < 0 {
			q.backForLocked(^n).addLoose(rest[:^n])
			rest = rest[^n:]
			q.bytes += ^n
		} else {
			q.backForLocked(n).addFrame(Header{}, rest[:n])
			rest = rest[n:]
			q.countLocked(n)
		}
		if i == 0 && c.Cut {
			q.inflight = q.unlinkFrontLocked()
			q.inflight.cut()
		}
	}
	switch {
	case front == nil:
	case q.back == nil:
		q.front, q.back = front, back
	default:
		q.back.next, q.back = front, back
	}
}

// cut makes b's only part the rest of one of which a byte is written: as many as there are makes no difference.
func (b *Batch) cut() {
	b.buf = append([]byte{0}, b.buf...)
	b.written, b.size = 1, b.size+1
	if p := b.parts[0]; p.isMessage() {
		b.parts[0] = p + 1
	} else {
		b.parts[0] = ^part(p.end() + 1)
	}
}
