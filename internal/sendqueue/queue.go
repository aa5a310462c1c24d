package sendqueue

import (
	"errors"
	"math"
	"sync/atomic"

	"github.com/libnet-go/libnet/internal/lock"
)

// queueLock is the class of queues' locks; see docs/locks.md.
type queueLock struct{}

// A Queue holds what Send accepted until it is written. It costs nothing while it is empty.
//
// It is a chain of batches, each bounded: Send appends to the last while one flush writes the one that it took from
// the front. No user code runs and no other lock is taken under mu. docs/sendside.md has its states, and who flushes.
type Queue struct {
	mu lock.Mutex[queueLock]
	// mu guards the following.
	front, back *Batch // accepted and not yet taken by a flush; nil when there is nothing
	inflight    *Batch // taken by the flush; its owner is whoever set flushing
	rare        *rare

	state    state
	flushing flushing
	deferral deferral

	manyReplies bool         // belongs to the receiver: the last message was answered with more than one
	receiver    atomic.Int32 // ReceiverState

	// mu guards the following.
	bytes            int // accepted and not yet written
	messagesOut      uint64
	bytesOut         uint64
	messagesReceived uint64 // when the receiver last said so: it takes mu then anyway
	bytesReceived    uint64
	messages         int32         // accepted and not yet written
	follows          atomic.Uint32 // the run that back goes on with, 0 for none; changes under mu and its Lender's
}

// lock takes mu, and whatever was lent to the queue meanwhile: see run.
func (q *Queue) lock() {
	q.mu.Lock()
	if q.follows.Load() != 0 {
		q.leaveRunLocked()
	}
}

// flushing says how far a flush is.
type flushing uint8

const (
	noFlush       flushing = iota
	flushAwaited           // it has begun for another, who has not come to it: see TakeOver
	flushUnderWay          // somebody carries it out
	flushYields            // the same, and he is to leave the queue to who asks for a Hold
	flushHeld              // nobody writes until Unhold
)

type state uint8

const (
	open     state = iota
	draining       // refuses messages, delivers what it has
	closed         // refuses messages, discards what it has
	settled        // the same, and what was received is counted to the last
)

func (s state) isClosed() bool { return s >= closed }

// rare is what a queue seldom needs; it is made with the first need.
type rare struct {
	line   waitingLine
	idle   chan struct{} // closed when nothing is queued or no flush can follow; nil while nobody waits
	failed error         // what ended a flush

	discarded uint64
	dropped   uint64 // of what is discarded, what made room for newer messages
	waits     *waits // nil where nobody measures them; immutable once something was queued

	last      bool // bytes that end the stream are queued, or written; see Drain
	lastIsOut bool // they are written
	isCut     bool // a part of what was in flight was discarded: the stream ends within a frame
	sealed    bool // held, and takes nothing until it is held no more; see Seal

	frames frames // of a plain codec
}

func (q *Queue) rareLocked() *rare {
	if q.rare == nil {
		q.rare = new(rare)
	}
	return q.rare
}

// A Limit is how much a queue may hold. 0 bytes means no bound in bytes. With Drop, older messages make room for a new
// one. Where Busy is above 0, more is likely to follow: what another would flush may wait for that. It is looked at
// where that matters, and not for each message: others change it all the time.
type Limit struct {
	Messages, Bytes int
	Drop            bool
	Busy            *atomic.Int32 // nil: nothing waits
}

func (l *Limit) gathers() bool { return l.Busy != nil && l.Busy.Load() > 0 }

// NoLimit takes any message, also before those who wait for room.
var NoLimit = Limit{Messages: math.MaxInt}

// Why a queue takes no message. What that means is its user's to say.
var (
	ErrClosed   = errors.New("libnet: the queue is closed")
	ErrFull     = errors.New("libnet: the queue is full")
	ErrSealed   = errors.New("libnet: the queue is sealed")
	ErrTooLarge = errors.New("libnet: the frame is too large")
)

// mayTakeLocked says why a message of n bytes may not be queued.
func (q *Queue) mayTakeLocked(n int, limit *Limit) error {
	switch {
	case q.state != open:
		return ErrClosed
	case q.sealedLocked():
		return ErrSealed
	case !limit.Drop && (q.fullLocked(n, limit) || q.hasLineLocked() && *limit != NoLimit && !q.passesLocked()):
		return ErrFull
	}
	return nil
}

// fullLocked reports whether a message of n bytes is one too many. An empty queue takes any message.
func (q *Queue) fullLocked(n int, limit *Limit) bool {
	return q.messages > 0 && (int(q.messages) >= limit.Messages || limit.Bytes > 0 && n > limit.Bytes-q.bytes)
}

// IsFull reports whether not even an empty message would be accepted: for want of room, or because the queue is kept
// for those who wait for it.
func (q *Queue) IsFull(limit Limit) bool {
	q.lock()
	defer q.mu.Unlock()
	return q.state == open && q.isFullLocked(&limit)
}

func (q *Queue) isFullLocked(limit *Limit) bool {
	return !limit.Drop && (q.fullLocked(0, limit) || !q.passesLocked())
}

// Put queues the message of c, a draft, which it takes in any case, and says who has to flush it.
func (q *Queue) Put(c *Batch, limit Limit) (by By, err error) {
	by, kept, err := q.putDraft(c, limit)
	if !kept {
		c.Free()
	}
	return by, err
}

func (q *Queue) putDraft(c *Batch, limit Limit) (by By, kept bool, err error) {
	q.lock()
	defer q.mu.Unlock()
	return q.putLocked(c, &limit)
}

func (q *Queue) putLocked(c *Batch, limit *Limit) (by By, kept bool, err error) {
	if err := q.mayTakeLocked(c.size, limit); err != nil {
		return ByNobody, false, err
	}
	kept = q.appendLocked(c)
	return q.tookLocked(limit), kept, nil
}

// A Header is what the frame of a message begins with whose payload is as its sender has it: up to 8 bytes, the first
// of them in the lowest bits. A number is passed in a register, and an array would not be.
type Header struct {
	Bytes uint64
	Len   int
}

// A Payload is a message that is marshalled already, of a package whose marshaler would append just these bytes: see
// codec.Marshaler. Users cannot make one.
type Payload struct{ Bytes []byte }

// A Variant tells apart how sessions of one protocol encode a message. It is 0 for all but those of package ws that
// have agreed on compression.
type Variant uint8

// PutCopy queues a message whose frame is head and then payload, of which it keeps neither. This is what most messages
// go through, and what is true of most of them is told here: that there is room and nobody waits for it, and that the
// message is left to the receiver.
func (q *Queue) PutCopy(head Header, payload []byte, limit *Limit) (by By, err error) {
	n := head.Len + len(payload)
	q.lock()
	if q.rare != nil || q.state != open || q.fullLocked(n, limit) {
		if err = q.mayTakeLocked(n, limit); err != nil {
			q.mu.Unlock()
			return ByNobody, err
		}
		if q.rare != nil {
			q.rare.waits.took()
		}
	}
	b := q.back
	if b == nil || !b.hasRoom(n) {
		b = q.backForLocked(n)
	}
	b.addFrame(head, payload)
	q.enterLocked(n)
	if limit.Drop || !q.isLeftToReceiverLocked() {
		by = q.tookLocked(limit)
	}
	q.mu.Unlock() // not deferred, which costs: nothing of the user's runs here
	return by, nil
}

// PutShared queues a frame that others send, too, and that nobody changes any more. It is not copied.
func (q *Queue) PutShared(frame []byte, limit Limit) (by By, err error) {
	q.lock()
	defer q.mu.Unlock()
	if err := q.mayTakeLocked(len(frame), &limit); err != nil {
		return ByNobody, err
	}
	q.backForLocked(len(frame)).addShared(frame)
	q.countLocked(len(frame))
	return q.tookLocked(&limit), nil
}

// PutLent is PutShared for short frames, each of which lies behind the one before: as long as a batch has only such, it
// is a piece of what all queues write, in one write. Among other messages it is copied. Where more of its like are
// likely, the queue follows its run.
//
// The first messages of a burst go through this for each member: as PutCopy, it tells here what is true of most of
// them, that the frame follows those of the only batch, and that nothing is rare.
func (q *Queue) PutLent(l *Lent, limit *Limit) (by By, err error) {
	q.lock()
	n, b := len(l.Bytes), q.front
	if b != nil && b == q.back && q.rare == nil && q.state == open && !limit.Drop &&
		!q.fullLocked(n, limit) && b.hasRoom(n) && b.follow(l.Bytes) {
		q.enterLocked(n)
		by = q.wakeLocked(limit)
	} else {
		by, err = q.putLentLocked(l.Bytes, limit)
	}
	if l.run != nil && by != ByCaller && err == nil {
		q.followLocked(l, limit)
	}
	q.mu.Unlock() // not deferred, as in PutCopy
	return by, err
}

func (q *Queue) putLentLocked(frame []byte, limit *Limit) (by By, err error) {
	if err := q.mayTakeLocked(len(frame), limit); err != nil {
		return ByNobody, err
	}
	if b := q.backForLocked(len(frame)); b != q.front || !b.lend(frame) {
		b.addFrame(Header{}, frame)
	}
	q.countLocked(len(frame))
	return q.tookLocked(limit), nil
}

// countLocked is called with each message that is queued, but for PutCopy's.
func (q *Queue) countLocked(n int) {
	q.enterLocked(n)
	if q.rare != nil {
		q.rare.waits.took()
	}
}

func (q *Queue) enterLocked(n int) {
	q.messages++
	q.bytes += n
}

// tookLocked is what follows when a message was queued.
func (q *Queue) tookLocked(limit *Limit) By {
	if limit.Drop {
		if !q.passesLocked() {
			q.admitFirstLocked()
		}
		q.dropDownToLocked(limit)
		q.admitLocked() // what was dropped may have been larger
	}
	return q.wakeLocked(limit)
}

// appendLocked makes the message that c, a draft, holds the last in the queue. kept says that c is the queue's.
func (q *Queue) appendLocked(c *Batch) (kept bool) {
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
func (q *Queue) backForLocked(n int) *Batch {
	if q.back == nil || !q.back.hasRoom(n) {
		q.linkLocked(getBatch())
	}
	return q.back
}

// linkLocked makes b the last of the chain. Where there is a chain, more is likely to follow: it gets its storage at
// once.
func (q *Queue) linkLocked(b *Batch) {
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
func (q *Queue) unlinkFrontLocked() *Batch {
	b := q.front
	if q.front = b.next; q.front == nil {
		q.back = nil
	}
	b.next = nil
	return b
}

// Counters is a snapshot of what a queue counts.
type Counters struct {
	Messages, Bytes                 int    // accepted and not yet written
	Own                             int    // of these, the one whose Send waits, and itself says what becomes of it
	MessagesOut, BytesOut           uint64 // written
	MessagesReceived, BytesReceived uint64 // as the receiver said last
	Discarded                       uint64 // messages that were accepted and will not be written
	Dropped                         uint64 // those of them that made room for newer ones
}

// Lost is how many messages were discarded against the will of whoever sent them: not those that made room for newer
// ones.
func (c Counters) Lost() uint64 { return c.Discarded - c.Dropped }

// Counters returns a snapshot.
func (q *Queue) Counters() Counters {
	q.lock()
	defer q.mu.Unlock()
	c := Counters{
		Messages: int(q.messages), Bytes: q.bytes,
		MessagesOut: q.messagesOut, BytesOut: q.bytesOut,
		MessagesReceived: q.messagesReceived, BytesReceived: q.bytesReceived,
	}
	if b := q.inflight; b != nil && b.own {
		c.Own = b.messages
	}
	if q.rare != nil {
		c.Discarded, c.Dropped = q.rare.discarded, q.rare.dropped
	}
	return c
}
