package resume

import (
	"encoding/binary"
	"sync"

	"github.com/libnet-go/libnet/internal/sendqueue"
)

// A queue holds encoded messages in order, as their frames: so a connection is given them as they lie. Small ones lie
// in blocks that are pooled; a message stays where it is until it is dropped. The zero value is empty, and so is one of
// which all was dropped: most sessions keep nothing, so what is known of a queue is in its first block.
type queue struct{ first *block }

// queued is what is known of a queue.
type queued struct {
	last      *block
	next      *block // of the next to send; nil: it must be looked for
	nextIndex int32
	count     int32
	size      int32 // bytes of the messages
}

const (
	blockMessages = 64
	blockBytes    = 4 << 10
	largeMessage  = 1 << 10 // from here on a message has memory of its own
)

type block struct {
	queued // of the queue whose first block it is
	after  *block
	begin  int // messages before it were dropped
	end    int
	used   int
	frames [blockMessages]sendqueue.Payload
	with   sendqueue.Payload // what a message of the block's goes as that takes an acknowledgement along; one at a time is in flight
	bytes  [blockBytes]byte
}

var blocks = sync.Pool{New: func() any { return new(block) }}

// push appends a message, which it copies.
func (q *queue) push(kind byte, data []byte) {
	n := 1 + len(data)
	if n > largeMessage {
		frame := append(make([]byte, 0, n), kind)
		q.pushShared(append(frame, data...))
		return
	}
	b := q.room(n)
	frame := append(b.bytes[b.used:b.used:b.used+n], kind)
	b.used += n
	q.add(b, append(frame, data...))
}

// withAck returns the frame, which is a small one, with an acknowledgement.
func (b *block) withAck(frame []byte, count uint64) *sendqueue.Payload {
	head := binary.AppendUvarint(append(b.with.Bytes[:0], frame[0]|flagAck), count)
	b.with.Bytes = append(head, frame[1:]...)
	return &b.with
}

// pushShared appends a frame that must not change.
func (q *queue) pushShared(frame []byte) { q.add(q.room(0), frame) }

// add appends a frame to the last block, where room has found some.
func (q *queue) add(b *block, frame []byte) {
	b.frames[b.end].Bytes = frame
	b.end++
	q.first.count++
	q.first.size += int32(dataSize(frame))
}

// room returns the block of the next frame, of which so many bytes are to lie there.
func (q *queue) room(n int) *block {
	if q.first == nil {
		q.first = blocks.Get().(*block)
		q.first.last = q.first
	}
	b := q.first.last
	if b.end == blockMessages || b.used+n > blockBytes {
		b.after = blocks.Get().(*block)
		b = b.after
		q.first.last = b
	}
	return b
}

func (q *queue) count() int32 {
	if q.first == nil {
		return 0
	}
	return q.first.count
}

// size is the bytes of the messages.
func (q *queue) size() int32 {
	if q.first == nil {
		return 0
	}
	return q.first.size
}

// dataSize is the application's part of a message's frame, behind its kind.
func dataSize(frame []byte) int { return len(frame) - 1 }

// messageCost is about what a message takes in a block, its bytes aside: many empty ones are no less of a burden.
const messageCost = 100

// held is what the messages cost.
func (q *queue) held() int { return int(q.size()) + int(q.count())*messageCost }

// drop forgets the first messages.
func (q *queue) drop(n int) {
	for ; n > 0; n-- {
		b := q.first
		b.size -= int32(dataSize(b.frames[b.begin].Bytes))
		b.frames[b.begin].Bytes = nil
		b.count--
		if b.begin++; b.begin == b.end && (b.end == blockMessages || b.after != nil || b.count == 0) {
			q.recycleFirst()
		}
	}
}

func (q *queue) recycleFirst() {
	b := q.first
	if q.first = b.after; q.first != nil {
		q.first.queued = b.queued
		if b.next == b {
			q.rewind()
		}
	}
	b.queued, b.after, b.begin, b.end, b.used = queued{}, nil, 0, 0, 0 // its frames were forgotten one by one
	blocks.Put(b)
}

// get returns the frame with n before it, and the block it is in; nil if there is none. The next call must be for the
// one behind it, or follow a rewind.
func (q *queue) get(n int) (*sendqueue.Payload, *block) {
	if n >= int(q.count()) {
		return nil, nil
	}
	if q.first.next == nil {
		q.seek(n)
	}
	known := &q.first.queued
	if int(known.nextIndex) == known.next.end {
		known.next, known.nextIndex = known.next.after, int32(known.next.after.begin)
	}
	known.nextIndex++
	return &known.next.frames[known.nextIndex-1], known.next
}

func (q *queue) seek(n int) {
	b := q.first
	for ; n >= b.end-b.begin; b = b.after {
		n -= b.end - b.begin
	}
	q.first.next, q.first.nextIndex = b, int32(b.begin+n)
}

// look returns the size of the first n messages, and whether none behind them is longer than longest. It rewinds.
func (q *queue) look(n, longest int) (size int, fits bool) {
	fits = true
	for b := q.first; b != nil; b = b.after {
		for _, f := range b.frames[b.begin:b.end] {
			if n > 0 {
				size += dataSize(f.Bytes)
			} else if dataSize(f.Bytes) > longest {
				fits = false
			}
			n--
		}
	}
	q.rewind()
	return size, fits
}

// rewind lets the next get be for any message.
func (q *queue) rewind() {
	if q.first != nil {
		q.first.next = nil
	}
}

// pop returns the first message in memory of the caller's, and its kind.
func (q *queue) pop() (kind byte, data []byte) {
	frame := q.first.frames[q.first.begin].Bytes
	kind, data = frame[0], append([]byte{}, frame[1:]...)
	q.drop(1)
	return kind, data
}
