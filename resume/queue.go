package resume

import "sync"

// A queue holds encoded messages in order. Small ones lie in blocks that are pooled; a message stays where it is until it is
// dropped. The zero value is empty.
type queue struct {
	first, last *block
	next        *block // of the next to send; nil: it must be looked for
	nextIndex   int
	count       int
	size        int // bytes of the messages
}

const (
	blockMessages = 64
	blockBytes    = 4 << 10
	largeMessage  = 1 << 10 // from here on a message has memory of its own
)

type block struct {
	after    *block
	begin    int // messages before it were dropped
	end      int
	used     int
	messages [blockMessages]message
	bytes    [blockBytes]byte
}

var blocks = sync.Pool{New: func() any { return new(block) }}

// push appends a message. Shared data is kept as it is, and must not change; other is copied.
func (q *queue) push(data []byte, shared, wait bool) {
	small := !shared && len(data) <= largeMessage
	b := q.last
	if b == nil || b.end == blockMessages || small && b.used+len(data) > blockBytes {
		b = blocks.Get().(*block)
		if q.last == nil {
			q.first = b
		} else {
			q.last.after = b
		}
		q.last = b
	}
	switch {
	case small:
		room := b.bytes[b.used : b.used : b.used+len(data)]
		b.used += len(data)
		data = append(room, data...)
	case !shared:
		data = append([]byte(nil), data...)
	}
	b.messages[b.end] = message{data: data, wait: wait}
	b.end++
	q.count++
	q.size += len(data)
}

// messageCost is about what a message takes in a block, its bytes aside: many empty ones are no less of a burden.
const messageCost = 100

// held is what the messages cost.
func (q *queue) held() int { return q.size + q.count*messageCost }

// drop forgets the first messages.
func (q *queue) drop(n int) {
	for ; n > 0; n-- {
		b := q.first
		m := &b.messages[b.begin]
		q.size -= len(m.data)
		*m = message{}
		q.count--
		if b.begin++; b.begin == b.end && (b.end == blockMessages || b.after != nil || q.count == 0) {
			q.recycle(b)
		}
	}
}

func (q *queue) recycle(b *block) {
	if q.first = b.after; q.first == nil {
		q.last = nil
	}
	if q.next == b {
		q.next = nil
	}
	b.after, b.begin, b.end, b.used = nil, 0, 0, 0 // its messages were forgotten one by one
	blocks.Put(b)
}

// get returns the message with n before it; nil if there is none. The next call must be for the one behind it, or follow a rewind.
func (q *queue) get(n int) *message {
	if n >= q.count {
		return nil
	}
	if q.next == nil {
		q.seek(n)
	}
	if q.nextIndex == q.next.end {
		q.next, q.nextIndex = q.next.after, q.next.after.begin
	}
	q.nextIndex++
	return &q.next.messages[q.nextIndex-1]
}

func (q *queue) seek(n int) {
	b := q.first
	for ; n >= b.end-b.begin; b = b.after {
		n -= b.end - b.begin
	}
	q.next, q.nextIndex = b, b.begin+n
}

// look returns the size of the first n messages, and whether none behind them is longer than longest. It rewinds.
func (q *queue) look(n, longest int) (size int, fits bool) {
	fits = true
	for b := q.first; b != nil; b = b.after {
		for _, m := range b.messages[b.begin:b.end] {
			if n > 0 {
				size += len(m.data)
			} else if len(m.data) > longest {
				fits = false
			}
			n--
		}
	}
	q.rewind()
	return size, fits
}

// rewind lets the next get be for any message.
func (q *queue) rewind() { q.next = nil }

// pop returns the first message in memory of the caller's.
func (q *queue) pop() []byte {
	data := append([]byte{}, q.first.messages[q.first.begin].data...)
	q.drop(1)
	return data
}
