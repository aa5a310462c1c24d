package libnet

// What a session's receiver does, as far as those need to know who queue something: it writes what is queued before it waits.
type receiverState = int32

const (
	receiverAbsent  receiverState = iota // nobody receives
	receiverWaiting                      // for the peer
	receiverActive                       // between two messages: it will come back to flush
	receiverLast                         // the same, with the last message that has arrived: the first reply is written at once
)

// What becomes of a message that was left to the receiver.
type deferral uint8

const (
	deferralNone    deferral = iota
	deferralPending          // somebody looks after the receiver; nothing was written since the last look, or the beginning
	deferralMoving           // the same, and something was written
	deferralExpired          // the receiver did not come back in time: nothing is left to it until it does
)

// Who flushes what was queued.
type flusherKind uint8

const (
	byNobody   flusherKind = iota // a flush is under way and will see it, or the receiver
	byCaller                      // the caller has begun the flush, and writes what can be written without waiting
	byReceiver                    // the receiver, before it waits; somebody has to look after it, see overdue
	byAnother                     // the caller has begun the flush, for somebody else to carry out
)

// wake says who flushes what is queued.
func (q *sendQueue) wake() flusherKind {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.wakeLocked()
}

// wakeLocked is called whenever something was queued.
func (q *sendQueue) wakeLocked() flusherKind {
	if !q.flushableLocked() {
		return byNobody
	}
	if q.state == queueOpen && q.deferral != deferralExpired && q.receiver.Load() >= receiverActive {
		switch {
		case q.receiver.CompareAndSwap(receiverLast, receiverActive):
			q.flushing = true
			return byCaller
		case q.deferral != deferralNone:
			return byNobody
		}
		q.deferral = deferralPending
		return byReceiver
	}
	q.flushing = true
	return byAnother
}

// overdue is for whoever looks after a receiver. begun says that the caller has begun a flush, for which the receiver did not
// come; again, that it is to look again: the receiver is left alone for as long as there are flushes.
func (q *sendQueue) overdue() (begun, again bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case !q.flushableLocked():
		q.deferral = deferralNone
		return false, false
	case q.deferral == deferralMoving:
		q.deferral = deferralPending
		return false, true
	}
	q.deferral, q.flushing = deferralExpired, true
	return true, false
}

// receiverMovesLocked notes that something was written.
func (q *sendQueue) receiverMovesLocked() {
	if q.deferral == deferralPending {
		q.deferral = deferralMoving
	}
}

func (q *sendQueue) receiverState() receiverState { return q.receiver.Load() }

// receiverWorks is called by the receiver when it has something to do.
func (q *sendQueue) receiverWorks() { q.receiver.Store(receiverActive) }

// receiverHasLast is called by the receiver when it has taken the last message that has arrived. The first reply to that is
// written at once, with all that is queued; but where the last one was answered with several, the receiver writes them all.
func (q *sendQueue) receiverHasLast() {
	if !q.manyReplies {
		q.receiver.Store(receiverLast)
	}
}

func (q *sendQueue) receiverGone() { q.receiver.Store(receiverAbsent) }

// receiverWaits is called by the receiver before it waits, with what it has received so far. True says that something is queued
// and that the caller has begun a flush.
func (q *sendQueue) receiverWaits(messages, bytes uint64) (begun bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	replied := !q.manyReplies && q.receiver.Load() == receiverActive
	q.receiver.Store(receiverWaiting) // under mu: who still finds it active has queued what this flush sees
	q.noteReceivedLocked(messages, bytes)
	if q.deferral == deferralExpired {
		q.deferral = deferralNone
	}
	if !q.flushableLocked() {
		return false
	}
	q.flushing = true
	q.manyReplies = replied || q.front.messages > 1
	return true
}

// noteReceived is receiverWaits for a receiver that goes on, or has gone: it begins no flush.
func (q *sendQueue) noteReceived(messages, bytes uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.noteReceivedLocked(messages, bytes)
}

func (q *sendQueue) noteReceivedLocked(messages, bytes uint64) {
	if !q.final {
		q.messagesReceived, q.bytesReceived = messages, bytes
	}
}

// noteLastReceived is noteReceived for an end, behind which nothing more is counted. Of messages only the bits of handedMessages
// are given; fewer than 2^30 have come since the last note.
func (q *sendQueue) noteLastReceived(messages, bytes uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	more := (messages - q.messagesReceived) & handedMessages
	if more >= 1<<30 { // the note came before the one of handed
		more = 0
	}
	q.noteReceivedLocked(q.messagesReceived+more, bytes)
	q.final = true
}
