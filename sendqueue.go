package libnet

import (
	"math"

	"github.com/libnet-go/libnet/internal/lock"
)

// A sendQueue holds what Send accepted until it is written. It costs nothing while it is empty.
//
// It is a chain of batches, each bounded: Send appends to the last while one flush writes the one that it took from
// the front. No user code runs and no other lock is taken under mu.
type sendQueue struct {
	mu lock.Mutex[queueLock]
	// mu guards the following.
	front, back *batch // accepted and not yet taken by a flush; nil when there is nothing
	inflight    *batch // taken by the flush; its owner is whoever set flushing
	rare        *queueRare

	state    queueState
	flushing bool
	deferred bool   // on the flusher's list of sessions whose receiver should flush
	away     bool   // the receiver did not come back to flush
	finalIn  bool   // what was received is counted to the last
	flushes  uint32 // counts flushes, so that the flusher sees whether one happened

	messages    int // accepted and not yet written, as Queued reports
	bytes       int
	messagesOut uint64
	bytesOut    uint64
	messagesIn  uint64 // what the receiver has noted here, so that others may know
	bytesIn     uint64
	discarded   uint64
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

// A queueLimit is how much a queue may hold. 0 bytes means no bound in bytes.
type queueLimit struct{ messages, bytes int }

var noLimit = queueLimit{messages: math.MaxInt}

// errQueueClosed says that the queue takes no more; why is the session's to say.
var errQueueClosed = newError("libnet: the queue is closed")

// mayTakeLocked says why a message of n bytes may not be queued.
func (q *sendQueue) mayTakeLocked(n int, limit queueLimit) error {
	switch {
	case q.state != queueOpen:
		return errQueueClosed
	case q.fullLocked(n, limit):
		return ErrSessionBlocked
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
	return q.state == queueOpen && q.fullLocked(0, limit)
}

// takeMessageLocked queues c, a draft. With drop, older messages make room. kept says that c is
// the queue's; otherwise the caller gives it back.
func (q *sendQueue) takeMessageLocked(c *batch, limit queueLimit, drop bool) (kept bool, err error) {
	if err := q.mayTakeLocked(c.size, orNone(limit, drop)); err != nil {
		return false, err
	}
	kept = q.appendLocked(c)
	if drop {
		q.dropDownToLocked(limit)
	}
	return kept, nil
}

// takeFrameLocked is takeMessageLocked for a frame that others send, too.
func (q *sendQueue) takeFrameLocked(frame []byte, limit queueLimit, drop bool) error {
	if err := q.mayTakeLocked(len(frame), orNone(limit, drop)); err != nil {
		return err
	}
	b := q.backForLocked(len(frame))
	if len(frame) >= shareAt {
		b.addShared(frame)
	} else {
		b.addFrame(frame)
	}
	q.messages++
	q.bytes += len(frame)
	if drop {
		q.dropDownToLocked(limit)
	}
	return nil
}

func orNone(limit queueLimit, drop bool) queueLimit {
	if drop {
		return noLimit
	}
	return limit
}

// appendLocked makes the message that c, a draft, holds the last in the queue. kept says that c is the queue's.
func (q *sendQueue) appendLocked(c *batch) (kept bool) {
	q.messages++
	q.bytes += c.size
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

// dropDownToLocked discards the oldest messages that no flush has taken until the queue is within its limit or only the
// newest of them is left.
func (q *sendQueue) dropDownToLocked(limit queueLimit) {
	pending := q.messages
	if q.inflight != nil {
		pending -= q.inflight.messages
	}
	for ; pending > 1 && (q.messages > limit.messages || limit.bytes > 0 && q.bytes > limit.bytes); pending-- {
		q.dropOldestLocked()
	}
}

// dropOldestLocked discards the oldest message that no flush has taken; there must be one. A batch that has no message more
// is given back, and what else it holds goes to one before it.
func (q *sendQueue) dropOldestLocked() {
	var before *batch
	b := q.front
	for ; b.messages == 0; b = b.next {
		before = b
	}
	q.bytes -= b.dropFirst()
	q.messages--
	q.discarded++
	if b.messages > 0 || b == q.back {
		return
	}
	if loose := b.rest(); len(loose) > 0 {
		if before == nil || !before.hasRoom(len(loose)) {
			before = q.insertLocked(before, b)
		}
		before.addLoose(loose)
	}
	if before == nil {
		q.front = b.next
	} else {
		before.next = b.next
	}
	putBatch(b)
}

// insertLocked puts an empty batch between two that follow each other, of which the first may be none.
func (q *sendQueue) insertLocked(before, b *batch) *batch {
	c := getBatch()
	c.next = b
	if before == nil {
		q.front = c
	} else {
		before.next = c
	}
	return c
}

// beginFrame has write put what a plain codec's Send writes into b.
func (q *sendQueue) beginFrame(b *batch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	r := q.rareLocked()
	r.frame, r.frameErr = b, nil
}

// endFrame returns what a write of the frame was refused for.
func (q *sendQueue) endFrame() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	err := q.rare.frameErr
	q.rare.frame, q.rare.frameErr = nil, nil
	return err
}

// write takes what a codec writes: a part of the frame that its Send makes, of maxFrame bytes at the most, or bytes that belong to
// no message, for which loose is the limit. inFrame says which it was.
func (q *sendQueue) write(p []byte, maxFrame, loose int) (inFrame bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.rare != nil && q.rare.frame != nil {
		err = q.writeFrameLocked(q.rare, p, maxFrame)
		return true, err
	}
	switch {
	case q.state != queueOpen:
		return false, errQueueClosed
	case q.bytes > 0 && len(p) > loose-q.bytes:
		return false, ErrSessionBlocked
	}
	q.backForLocked(len(p)).addLoose(p)
	q.bytes += len(p)
	return false, nil
}

func (q *sendQueue) writeFrameLocked(r *queueRare, p []byte, maxFrame int) error {
	switch {
	case q.state == queueClosed:
		r.frameErr = errQueueClosed
	case len(p) > maxFrame-len(r.frame.buf):
		r.frameErr = ErrFrameTooLarge
	default:
		r.frame.grow(len(p))
		r.frame.buf = append(r.frame.buf, p...)
		return nil
	}
	return r.frameErr
}

// flushableLocked reports whether there is something to flush and nobody who does.
func (q *sendQueue) flushableLocked() bool {
	return !q.flushing && q.front != nil && q.state != queueClosed
}

// receiverWaits notes what the receiver has received before it waits, and makes it the one who flushes if
// there is something to flush. It returns what to write first; without take that is left in the queue.
func (q *sendQueue) receiverWaits(messagesIn, bytesIn uint64, take bool) *batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.noteReceivedLocked(messagesIn, bytesIn)
	q.away = false
	if !q.flushableLocked() {
		return nil
	}
	q.flushing = true
	if !take {
		return q.front
	}
	return q.takeLocked()
}

// noteReceived records what the receiver has received and starts no flush.
func (q *sendQueue) noteReceived(messages, bytes uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.noteReceivedLocked(messages, bytes)
}

func (q *sendQueue) noteReceivedLocked(messages, bytes uint64) {
	if !q.finalIn {
		q.messagesIn, q.bytesIn = messages, bytes
	}
}

// noteLastReceived is noteReceived for an end, behind which nothing more is counted. Of messages only the bits of handedMessages
// are given; fewer than 2^30 have come since the last note.
func (q *sendQueue) noteLastReceived(messages, bytes uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	more := (messages - q.messagesIn) & handedMessages
	if more >= 1<<30 { // the note came before the one of handed
		more = 0
	}
	q.noteReceivedLocked(q.messagesIn+more, bytes)
	q.finalIn = true
}

// begin makes the caller the one who flushes; false when there is nothing to flush or somebody does.
func (q *sendQueue) begin() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	begun := q.flushableLocked()
	q.flushing = q.flushing || begun
	return begun
}

// beginOverdue is begin for the flusher, which looks after a receiver that was left to flush: it leaves it alone for as long as
// there are flushes. later says that it should look again.
func (q *sendQueue) beginOverdue(seen uint32) (begun, later bool, flushes uint32) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.front != nil && !q.flushing && q.flushes != seen {
		return false, true, q.flushes
	}
	q.deferred = false
	if begun = q.flushableLocked(); begun {
		q.flushing, q.away = true, true
	}
	return begun, false, q.flushes
}

// take returns what a flush that has begun is to write next. At nil it has ended.
func (q *sendQueue) take() *batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.takeLocked()
}

func (q *sendQueue) takeLocked() *batch {
	switch {
	case q.inflight != nil:
	case q.front == nil || q.state == queueClosed:
		q.endLocked()
		return nil // what is in flight now is another's
	default:
		q.inflight = q.unlinkFrontLocked()
	}
	return q.inflight
}

// wrote counts n bytes of b, the batch in flight, as written. It returns what to write next: b itself
// until it is written whole; at nil the flush has ended. The error says that b was given up meanwhile.
func (q *sendQueue) wrote(b *batch, n int) (next *batch, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if b != q.inflight {
		return nil, errQueueClosed
	}
	messages := b.wrote(n)
	q.messages -= messages
	q.bytes -= n
	q.messagesOut += uint64(messages)
	q.bytesOut += uint64(n)
	q.flushes++
	q.admitLocked()
	if b.written < b.size {
		return b, nil
	}
	q.inflight = nil
	putBatch(b)
	return q.takeLocked(), nil
}

// written returns how many bytes have been written.
func (q *sendQueue) written() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytesOut
}

// gave counts the first message of a bare session's batch in flight, which was given to its codec, as sent or as not.
func (q *sendQueue) gave(b *batch, sent bool) (next *batch, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if b != q.inflight {
		return nil, errQueueClosed
	}
	b.msgs[b.first] = nil
	b.first++
	b.messages--
	q.messages--
	switch {
	case sent:
		q.messagesOut++
	case !b.own:
		q.discarded++
	}
	q.admitLocked()
	if b.messages > 0 {
		return b, nil
	}
	q.inflight = nil
	putBatch(b)
	return q.takeLocked(), nil
}

// fail ends a flush that could not go on, and closes the queue.
func (q *sendQueue) fail(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.rareLocked().failed = err
	q.state = queueClosed
	q.endLocked()
	q.admitLocked()
}

// failure returns what ended a flush, or the other reason if none failed.
func (q *sendQueue) failure(other error) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.rare != nil && q.rare.failed != nil {
		return q.rare.failed
	}
	return other
}

// abandon gives a flush up that does not come back though its conn was closed: what it has in flight counts as discarded.
func (q *sendQueue) abandon() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.state = queueClosed
	if q.flushing {
		q.endLocked()
	}
	q.admitLocked()
}

func (q *sendQueue) flushCount() uint32 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.flushes
}

func (q *sendQueue) isClosed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.state == queueClosed
}

// endLocked ends a flush. The first of those who wait for their turn begins another.
func (q *sendQueue) endLocked() {
	q.flushing = false
	if q.state == queueClosed {
		q.discardLocked()
	}
	q.grantTurnLocked()
	q.idleLocked()
}

// idleLocked tells those who wait that nothing is queued, if that is so.
func (q *sendQueue) idleLocked() {
	if !q.isIdleLocked() || q.rare == nil || q.rare.idle == nil {
		return
	}
	close(q.rare.idle)
	q.rare.idle = nil
}

// isIdleLocked reports whether nothing is queued, or nothing that can still be written.
func (q *sendQueue) isIdleLocked() bool {
	return !q.flushing && (q.front == nil || q.state == queueClosed)
}

// drain refuses further messages.
func (q *sendQueue) drain() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.state == queueOpen {
		q.state = queueDraining
	}
	q.admitLocked()
}

// close refuses further messages and discards what no flush has taken. What a flush has in flight is
// counted when it ends.
func (q *sendQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.state = queueClosed
	if !q.flushing {
		q.endLocked()
	}
	q.admitLocked()
}

// discardLocked counts as discarded, and drops, what is left. A message whose Send waits is not discarded: its Send says so.
func (q *sendQueue) discardLocked() {
	q.discarded += uint64(q.messages)
	if b := q.inflight; b != nil && b.own {
		q.discarded -= uint64(b.messages)
	}
	q.messages, q.bytes = 0, 0
	q.front, q.back, q.inflight = nil, nil, nil
}

// idle returns a channel that is closed when nothing is queued, or nil when that is so already.
func (q *sendQueue) idle() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.isIdleLocked() {
		return nil
	}
	r := q.rareLocked()
	if r.idle == nil {
		r.idle = make(chan struct{})
	}
	return r.idle
}
