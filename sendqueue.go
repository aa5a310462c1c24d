package libnet

import (
	"errors"
	"math"
	"sync/atomic"

	"github.com/libnet-go/libnet/internal/lock"
)

// A sendQueue holds what Send accepted until it is written. It costs nothing while it is empty.
//
// It is a chain of batches, each bounded: Send appends to the last while one flush writes the one that it took from
// the front. No user code runs and no other lock is taken under mu. docs/sendside.md has its states, and who flushes.
type sendQueue struct {
	mu lock.Mutex[queueLock]
	// mu guards the following.
	front, back *batch // accepted and not yet taken by a flush; nil when there is nothing
	inflight    *batch // taken by the flush; its owner is whoever set flushing
	rare        *queueRare

	state    queueState
	flushing bool
	deferral deferral
	final    bool // what was received is counted to the last

	manyReplies bool         // belongs to the receiver: the last message was answered with more than one
	receiver    atomic.Int32 // receiverState

	// mu guards the following.
	messages         int // accepted and not yet written
	bytes            int
	messagesOut      uint64
	bytesOut         uint64
	messagesReceived uint64 // when the receiver last said so: it takes mu then anyway
	bytesReceived    uint64
	discarded        uint64
}

type queueState uint8

const (
	queueOpen     queueState = iota
	queueDraining            // refuses messages, delivers what it has
	queueClosed              // refuses messages, discards what it has
)

// queueRare is what a queue seldom needs; it is made with the first need.
type queueRare struct {
	line   waitingLine
	idle   chan struct{} // closed when nothing is queued or no flush can follow; nil while nobody waits
	failed error         // what ended a flush

	// A plain codec's Send writes its frame here.
	frame    *batch // nil while there is no such Send
	frameErr error  // why one of its writes was refused
}

func (q *sendQueue) rareLocked() *queueRare {
	if q.rare == nil {
		q.rare = new(queueRare)
	}
	return q.rare
}

// A queueLimit is how much a queue may hold. 0 bytes means no bound in bytes. With Drop, older messages make room for a new one.
type queueLimit struct {
	messages, bytes int
	drop            bool
}

var noLimit = queueLimit{messages: math.MaxInt}

// Why a queue takes no message. What that means is its user's to say.
var (
	errQueueClosed = errors.New("libnet: the queue is closed")
	errQueueFull   = errors.New("libnet: the queue is full")
	errFrameTooBig = errors.New("libnet: the frame is too large")
)

// mayTakeLocked says why a message of n bytes may not be queued.
func (q *sendQueue) mayTakeLocked(n int, limit queueLimit) error {
	switch {
	case q.state != queueOpen:
		return errQueueClosed
	case !limit.drop && (q.fullLocked(n, limit) || limit != noLimit && !q.passesLocked()):
		return errQueueFull
	}
	return nil
}

// fullLocked reports whether a message of n bytes is one too many. An empty queue takes any message.
func (q *sendQueue) fullLocked(n int, limit queueLimit) bool {
	return q.messages > 0 && (q.messages >= limit.messages || limit.bytes > 0 && n > limit.bytes-q.bytes)
}

// isFull reports whether not even an empty message would be accepted.
func (q *sendQueue) isFull(limit queueLimit) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.state == queueOpen && !limit.drop && (q.fullLocked(0, limit) || !q.passesLocked())
}

// put queues the message of c, a draft, which it takes in any case, and says who has to flush it.
func (q *sendQueue) put(c *batch, limit queueLimit) (by flusherKind, err error) {
	by, kept, err := q.putDraft(c, limit)
	if !kept {
		c.free()
	}
	return by, err
}

func (q *sendQueue) putDraft(c *batch, limit queueLimit) (by flusherKind, kept bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.mayTakeLocked(c.size, limit); err != nil {
		return byNobody, false, err
	}
	kept = q.appendLocked(c)
	return q.tookLocked(limit), kept, nil
}

// putCopy queues a message whose frame is head and then payload, of which it keeps neither.
func (q *sendQueue) putCopy(head, payload []byte, limit queueLimit) (by flusherKind, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := len(head) + len(payload)
	if err := q.mayTakeLocked(n, limit); err != nil {
		return byNobody, err
	}
	q.backForLocked(n).addFrame(head, payload)
	q.countLocked(n)
	return q.tookLocked(limit), nil
}

// putShared queues a frame that others send, too, and that nobody changes any more. It is not copied.
func (q *sendQueue) putShared(frame []byte, limit queueLimit) (by flusherKind, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.mayTakeLocked(len(frame), limit); err != nil {
		return byNobody, err
	}
	q.backForLocked(len(frame)).addShared(frame)
	q.countLocked(len(frame))
	return q.tookLocked(limit), nil
}

func (q *sendQueue) countLocked(n int) {
	q.messages++
	q.bytes += n
}

// tookLocked is what follows when a message was queued.
func (q *sendQueue) tookLocked(limit queueLimit) flusherKind {
	if limit.drop {
		if !q.passesLocked() {
			q.admitFirstLocked()
		}
		q.dropDownToLocked(limit)
	}
	return q.wakeLocked()
}

// appendLocked makes the message that c, a draft, holds the last in the queue. kept says that c is the queue's.
func (q *sendQueue) appendLocked(c *batch) (kept bool) {
	q.countLocked(c.size)
	if b := q.back; b != nil && b.hasRoom(c.size) {
		b.merge(c)
		return false
	}
	c.seal()
	q.linkLocked(c)
	return true
}

// backForLocked returns the batch that n bytes more belong into.
func (q *sendQueue) backForLocked(n int) *batch {
	if q.back == nil || !q.back.hasRoom(n) {
		q.linkLocked(getBatch())
	}
	return q.back
}

// linkLocked makes b the last of the chain. Where there is a chain, more is likely to follow: it gets its storage at once.
func (q *sendQueue) linkLocked(b *batch) {
	if q.back == nil {
		q.front, q.back = b, b
		return
	}
	if b.size <= keptBatch/8 {
		b.grow(keptBatch - len(b.buf))
	}
	q.back.next, q.back = b, b
}

// unlinkFrontLocked takes the first batch out of the chain.
func (q *sendQueue) unlinkFrontLocked() *batch {
	b := q.front
	if q.front = b.next; q.front == nil {
		q.back = nil
	}
	b.next = nil
	return b
}

// Counters is a snapshot of what a queue counts.
type queueCounters struct {
	messages, bytes                 int // accepted and not yet written
	messagesOut, bytesOut           uint64
	messagesReceived, bytesReceived uint64 // as the receiver said last
	discarded                       uint64
}

func (q *sendQueue) counters() queueCounters {
	q.mu.Lock()
	defer q.mu.Unlock()
	return queueCounters{
		messages: q.messages, bytes: q.bytes,
		messagesOut: q.messagesOut, bytesOut: q.bytesOut,
		messagesReceived: q.messagesReceived, bytesReceived: q.bytesReceived,
		discarded: q.discarded,
	}
}
