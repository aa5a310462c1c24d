package libnet

import "sync"

// A sendQueue holds what Send accepted until it is written. It costs nothing while it is empty.
//
// Two batches take turns: Send appends to pending while one flush writes inflight.
type sendQueue struct {
	mu sync.Mutex
	// mu guards the following.
	pending  *batch // accepted and not yet taken by a flush; nil when there is none
	inflight *batch // taken by the flush; its owner is whoever set flushing
	waiters  *queueWaiters
	failed   error // what ended a flush

	state    queueState
	flushing bool
	deferred bool   // on the flusher's list of sessions whose receiver should flush
	away     bool   // the receiver did not come back to flush
	sending  bool   // a plain codec's Send writes its frame into pending
	ownLost  bool   // see own
	flushes  uint32 // counts flushes, so that the flusher sees whether one happened

	// own is the message that a synchronous Send waits for: its place among all that the queue has taken,
	// 0 before the first. It is the Send's to report, so it is not discarded but lost.
	own uint64

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

// queueWaiters exists only while somebody waits.
type queueWaiters struct {
	room chan struct{} // closed by the flush or close that made room; nil while nobody waits
	idle chan struct{} // closed when nothing is queued or no flush can follow; nil while nobody waits
}

// appendTo returns the batch to append to.
func (q *sendQueue) appendToLocked() *batch {
	if q.pending == nil {
		q.pending = getBatch()
	}
	return q.pending
}

// acceptedLocked counts the message that was just committed to pending.
func (q *sendQueue) acceptedLocked(n int) {
	q.messages++
	q.bytes += n
}

// ownLocked says that a synchronous Send waits for the message that was just accepted.
func (q *sendQueue) ownLocked() {
	q.own = q.messagesOut + q.discarded + uint64(q.messages)
	q.ownLost = false
}

// hasOwnLocked reports whether that message is still in the queue.
func (q *sendQueue) hasOwnLocked() bool { return q.own > q.messagesOut+q.discarded }

func (q *sendQueue) ownWasLost() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.ownLost
}

// fullLocked reports whether a message of n bytes is one too many. An empty queue takes any message.
func (q *sendQueue) fullLocked(n, maxMessages, maxBytes int) bool {
	return q.messages > 0 && (q.messages >= maxMessages || maxBytes > 0 && q.bytes+n > maxBytes)
}

// dropOldest discards the oldest message that no flush has taken and nobody waits for; false if there is
// none.
func (q *sendQueue) dropOldest() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	b := q.pending
	if b == nil || b.frames() == 0 || q.hasOwnLocked() {
		return false
	}
	q.dropFirstLocked()
	q.dropEmptyLocked()
	return true
}

func (q *sendQueue) dropFirstLocked() {
	q.bytes -= q.pending.dropFirst()
	q.messages--
	q.discarded++
}

// dropDownTo discards the oldest messages that no flush has taken until the queue is within its bounds or
// only the newest of them is left.
func (q *sendQueue) dropDownTo(maxMessages, maxBytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.pending != nil && q.pending.frames() > 1 && (q.messages > maxMessages || maxBytes > 0 && q.bytes > maxBytes) {
		q.dropFirstLocked()
	}
}

// dropEmptyLocked gives a pending batch back that has nothing to write.
func (q *sendQueue) dropEmptyLocked() {
	if b := q.pending; b != nil && !q.sending && b.written == b.size && b.frames() == 0 {
		putBatch(b)
		q.pending = nil
		q.idleLocked()
	}
}

// sentMessage counts the first message of a bare session's batch as sent, or as discarded.
func (q *sendQueue) sentMessage(b *batch, sent bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	b.msgs[b.first] = nil
	b.first++
	q.messages--
	if sent {
		q.messagesOut++
	} else {
		q.discarded++
	}
	q.roomLocked()
}

// sentBesideQueue counts a message that a synchronous Send gave to its bare codec.
func (q *sendQueue) sentBesideQueue() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.messagesOut++
}

// flushableLocked reports whether there is something to flush and nobody who does.
func (q *sendQueue) flushableLocked() bool {
	return !q.flushing && q.pending != nil && !q.sending && q.state != queueClosed
}

// receiverWaits notes what the receiver has received before it waits, and makes it the one who flushes if
// there is something to flush. It returns what to write first; without take that is left in the queue.
func (q *sendQueue) receiverWaits(messagesIn, bytesIn uint64, take bool) *batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.messagesIn, q.bytesIn = messagesIn, bytesIn
	q.away = false
	if !q.flushableLocked() {
		return nil
	}
	q.flushing = true
	if !take {
		return q.pending
	}
	return q.takeLocked()
}

// noteReceived is receiverWaits for a receiver that does not.
func (q *sendQueue) noteReceived(messages, bytes uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.messagesIn, q.bytesIn = messages, bytes
}

// begin makes the caller the one who flushes and returns what to write first; nil when there is nothing
// to flush or somebody does.
func (q *sendQueue) begin() *batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.flushableLocked() {
		return nil
	}
	q.flushing = true
	return q.takeLocked()
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
	case q.pending == nil || q.sending || q.state == queueClosed:
		q.endLocked()
	default:
		q.inflight, q.pending = q.pending, nil
	}
	return q.inflight
}

// wrote counts n bytes of b, the batch in flight, as written. It returns what to write next: b itself
// until it is written whole; at nil the flush has ended.
func (q *sendQueue) wrote(b *batch, n int) (next *batch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	frames := b.wrote(n)
	q.messages -= frames
	q.bytes -= n
	q.messagesOut += uint64(frames)
	q.bytesOut += uint64(n)
	q.flushes++
	q.roomLocked()
	if b.written < b.size {
		return b
	}
	q.inflight = nil
	putBatch(b)
	return q.takeLocked()
}

// fail ends a flush that could not go on, and closes the queue.
func (q *sendQueue) fail(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.failed = err
	q.state = queueClosed
	q.endLocked()
	q.roomLocked()
}

// failure returns what ended a flush, or the other reason if none failed.
func (q *sendQueue) failure(other error) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.failed != nil {
		return q.failed
	}
	return other
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

func (q *sendQueue) endLocked() {
	q.flushing = false
	if q.state == queueClosed {
		q.discardLocked()
	}
	q.idleLocked()
}

// idleLocked tells those who wait that nothing is queued, if that is so.
func (q *sendQueue) idleLocked() {
	if q.flushing || q.pending != nil && q.state != queueClosed {
		return
	}
	if q.waiters != nil && q.waiters.idle != nil {
		close(q.waiters.idle)
		q.waiters.idle = nil
	}
}

// drain refuses further messages.
func (q *sendQueue) drain() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.state == queueOpen {
		q.state = queueDraining
	}
	q.roomLocked()
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
	q.roomLocked()
}

// discardLocked counts as discarded, and drops, what is left.
func (q *sendQueue) discardLocked() {
	if q.hasOwnLocked() {
		q.own, q.ownLost = 0, true
		q.messages--
	}
	q.discarded += uint64(q.messages)
	q.messages, q.bytes = 0, 0
	q.pending, q.inflight = nil, nil
}

// idle returns a channel that is closed when nothing is queued, or nil when that is so already.
func (q *sendQueue) idle() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.flushing && (q.pending == nil || q.state == queueClosed) {
		return nil
	}
	w := q.waitersLocked()
	if w.idle == nil {
		w.idle = make(chan struct{})
	}
	return w.idle
}

// roomChanged returns a channel that is closed when it is worth trying again to queue a message: at
// once if the queue has emptied, or closed, since it was found full.
func (q *sendQueue) roomChanged() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	w := q.waitersLocked()
	if w.room == nil {
		w.room = make(chan struct{})
	}
	room := w.room
	if q.messages == 0 || q.state != queueOpen {
		q.roomLocked()
	}
	return room
}

func (q *sendQueue) roomLocked() {
	if q.waiters != nil && q.waiters.room != nil {
		close(q.waiters.room)
		q.waiters.room = nil
	}
}

func (q *sendQueue) waitersLocked() *queueWaiters {
	if q.waiters == nil {
		q.waiters = new(queueWaiters)
	}
	return q.waiters
}
