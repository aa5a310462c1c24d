package sendqueue

import (
	"encoding/binary"
	"net"
	"slices"
	"sync"
)

const (
	// keptBatch is how many bytes a Batch takes, and so the most that its storage keeps for another. A frame that is
	// longer has a Batch to itself, whose storage goes back to the garbage collector.
	keptBatch = 128 << 10

	// batchParts bounds the parts of a Batch, which may be very small.
	batchParts = 4 << 10
)

var batches = sync.Pool{New: func() any { return new(Batch) }}

// A Batch is a run of frames on their way out, and a link of its queue's chain. Frames are bytes one
// behind the other in buf, except the shared ones, which lie where the broadcast that made them put them.
// On a session made from a bare codec the messages themselves wait in msgs.
//
// A draft is a Batch on its way into the queue: one message, of size bytes, without its part. It is its maker's, until
// it is Put into the queue or freed.
//
// A Batch in flight is read by whoever flushes, with no lock held, and changed under the queue's lock only.
//
// While all its frames lie behind one another in memory that others read, too, that is its buf: see lend.
type Batch struct {
	next   *Batch
	buf    []byte
	lent   []byte // what buf is then, but that its capacity reaches as far as frames may follow; else nil
	idle   []byte // storage of b's own, which has nothing in it while something is lent
	parts  []part
	shared []extent // frames that are not in buf, in order
	msgs   []any

	messages int // messages that are neither written nor dropped
	size     int // bytes in all, shared ones included
	first    int // parts before this one were written or dropped
	written  int // bytes before this one were written or dropped
	gone     int // of these, the shared ones that were dropped

	own bool // a synchronous Send waits for its only message and reports what became of it

	run *run // what b's queue follows, and how many of its frames b has
	ran int
}

// A part is where a message's frame ends in its Batch; or the complement of that, for bytes that a codec wrote
// outside Send and that belong to no message. Two of the latter never follow each other.
type part int

func (p part) isMessage() bool { return p >= 0 }

func (p part) end() int {
	if p < 0 {
		return int(^p)
	}
	return int(p)
}

// extent is a frame that many batches share; nobody writes to it.
type extent struct {
	at    int // its place among all bytes of the Batch
	bytes []byte
}

func getBatch() *Batch { return batches.Get().(*Batch) }

// NewDraft returns a draft without a message.
func NewDraft() *Batch { return getBatch() }

// Room is empty storage for c's frame, to append to.
func (c *Batch) Room() []byte { return c.buf }

// spareRoom is what a frame that did not fit its room leaves in the next: a codec may need a little more than its
// frames take, and would else find too little each time.
const spareRoom = 64

// SetFrame makes frame the draft's message. It began as c's room, or it is copied: what a codec keeps must not become
// storage that other frames, of any session, are put into.
func (c *Batch) SetFrame(frame []byte) {
	c.size = len(frame)
	switch {
	case len(frame) > 0 && cap(c.buf) > 0 && &frame[0] == &c.buf[:1][0]:
		c.buf = frame
	case len(frame) > keptBatch: // takes no other frame, and is not kept
		c.buf = frame[:len(frame):len(frame)]
	default:
		c.buf = append(slices.Grow(c.buf[:0], len(frame)+spareRoom), frame...)
	}
}

// SetSplit makes a message of a header, as SetFrame does, and a payload that stays where it is until it is written.
func (c *Batch) SetSplit(header, payload []byte) {
	c.SetFrame(header)
	c.addShared(payload)
}

// SetMessage makes msg, which is not encoded yet, the draft's.
func (c *Batch) SetMessage(msg any) { c.msgs = append(c.msgs, msg) }

// Free gives b back: a draft that does not go into the queue, or a Batch that is written.
func (b *Batch) Free() {
	buf := b.buf
	if b.lent != nil {
		buf = b.idle
	}
	if cap(buf) > keptBatch {
		return
	}
	clear(b.shared)
	clear(b.msgs)
	parts, shared, msgs := b.parts[:0], b.shared[:0], b.msgs[:0]
	*b = Batch{} // and then its storage: a literal with that would be made on the stack, which has little room
	b.buf, b.parts, b.shared, b.msgs = buf[:0], parts, shared, msgs
	batches.Put(b)
}

// seal makes what c, a draft, holds its only part.
func (b *Batch) seal() {
	if len(b.parts) == 0 {
		b.parts = append(b.parts, part(b.size))
		b.messages = 1
	}
}

// commit makes what was put into b since the last part, n bytes, a message.
func (b *Batch) commit(n int) {
	b.size += n
	b.parts = append(b.parts, part(b.size))
	b.messages++
}

// addFrame adds a message whose frame is head and then payload.
func (b *Batch) addFrame(head Header, payload []byte) {
	n, at := head.Len+len(payload), len(b.buf)
	b.grow(n)
	b.buf = b.buf[:at+n]
	frame := b.buf[at:]
	if n >= 8 {
		binary.LittleEndian.PutUint64(frame, head.Bytes) // the payload comes over what is too much
	} else {
		for i := range head.Len {
			frame[i] = byte(head.Bytes >> (8 * i))
		}
	}
	copy(frame[head.Len:], payload)
	b.commit(n)
}

// lend makes frame b's next message where it lies, if it is the first, or lies behind the last one there. Behind it,
// as far as its capacity reaches, others of its like may follow.
func (b *Batch) lend(frame []byte) (lent bool) {
	if len(frame) == 0 {
		return false
	}
	if b.size > 0 {
		return b.follow(frame)
	}
	b.idle, b.lent = b.buf, frame
	b.buf = slices.Clip(frame) // so that what adds to it comes to grow
	b.commit(len(frame))
	return true
}

// follow is lend for a frame that lies behind those that are lent already; of any other it does nothing.
func (b *Batch) follow(frame []byte) bool {
	n := len(b.lent)
	if n == 0 || len(frame) == 0 || n == cap(b.lent) || &b.lent[:n+1][n] != &frame[0] {
		return false
	}
	b.lent = b.lent[:n+len(frame)]
	b.buf = slices.Clip(b.lent)
	b.commit(len(frame))
	return true
}

func (b *Batch) addShared(frame []byte) {
	b.shared = append(b.shared, extent{b.size, frame})
	b.commit(len(frame))
}

// addLoose adds bytes that belong to no message.
func (b *Batch) addLoose(p []byte) {
	b.grow(len(p))
	b.buf = append(b.buf, p...)
	b.size += len(p)
	if last := len(b.parts) - 1; last >= b.first && !b.parts[last].isMessage() {
		b.parts = b.parts[:last]
	}
	b.parts = append(b.parts, part(^b.size))
}

// grow makes room for n bytes more, in storage of b's own.
func (b *Batch) grow(n int) {
	need := len(b.buf) + n
	if need <= cap(b.buf) {
		return
	}
	grown := b.idle
	if need > cap(grown) {
		grown = make([]byte, 0, max(need, min(2*cap(b.buf), keptBatch)))
	}
	b.buf = append(grown[:0], b.buf...)
	b.lent, b.idle = nil, nil
}

// hasRoom reports whether n bytes more belong into b.
func (b *Batch) hasRoom(n int) bool { return b.size+n <= keptBatch && len(b.parts) < batchParts }

// merge adds the message that c, a draft, holds.
func (b *Batch) merge(c *Batch) {
	if len(c.msgs) > 0 {
		b.msgs = append(b.msgs, c.msgs...)
	}
	b.grow(len(c.buf))
	b.buf = append(b.buf, c.buf...)
	b.commit(c.size)
}

// Message is the first message of a Batch whose messages are not encoded.
func (b *Batch) Message() any { return b.msgs[b.first] }

// Unwritten is how many bytes are to be written.
func (b *Batch) Unwritten() int { return b.size - b.written }

// IsScattered reports whether pieces takes fewer writes than rest.
func (b *Batch) IsScattered() bool { return len(b.shared) > 0 }

// Rest returns bytes that lie together and are to be written next; none when all is written.
func (b *Batch) Rest() []byte {
	at := b.written
	sharedBefore := b.gone // bytes of the shared frames before at
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

// Pieces returns all that is to be written, for one writev.
func (b *Batch) Pieces() net.Buffers {
	var pieces net.Buffers
	left := *b
	for left.written < left.size {
		p := left.Rest()
		pieces = append(pieces, p)
		left.written += len(p)
	}
	return pieces
}

// wrote moves on by n bytes and returns how many messages that completed.
func (b *Batch) wrote(n int) (messages int) {
	b.written += n
	if b.written == b.size {
		messages, b.messages, b.first = b.messages, 0, len(b.parts)
		return messages
	}
	for b.first < len(b.parts) && b.parts[b.first].end() <= b.written {
		if b.parts[b.first].isMessage() {
			messages++
		}
		b.first++
	}
	b.messages -= messages
	return messages
}

// dropFirst forgets the oldest message, which must exist, and returns its size. Nothing of b may have been
// written. Bytes before it that belong to no message move to its end.
func (b *Batch) dropFirst() int {
	i, from := b.first, b.written
	if !b.parts[i].isMessage() {
		from = b.parts[i].end()
		i++
	}
	n := b.parts[i].end() - from
	if len(b.msgs) > 0 {
		b.msgs[i] = nil
	} else {
		b.dropBytes(from, n)
	}
	b.keepLoose(i)
	b.written += n
	b.messages--
	return n
}

// dropBytes forgets n bytes from that place on, of which some may be shared. What is to be written before them moves to
// their end.
func (b *Batch) dropBytes(from, n int) {
	at := b.written - b.gone
	loose := b.buf[at : at+from-b.written]
	own := n
	for len(b.shared) > 0 && b.shared[0].at < from+n {
		e := b.shared[0]
		b.shared[0].bytes = nil
		b.shared = b.shared[1:]
		b.gone += len(e.bytes)
		own -= len(e.bytes)
	}
	copy(b.buf[at+own:], loose)
}

// keepLoose removes part i, the first message: the bytes of no message before it, if there are any, end where it did.
func (b *Batch) keepLoose(i int) {
	if i == b.first {
		b.first++
		return
	}
	b.first = i
	b.parts[i] = ^part(b.parts[i].end())
	if i+1 < len(b.parts) && !b.parts[i+1].isMessage() {
		b.first = i + 1
	}
}
