package sendqueue

// ReceiverState is what a session's receiver does, as far as those need to know who queue something: it writes what is
// queued before it waits.
type ReceiverState = int32

const (
	ReceiverAbsent  ReceiverState = iota // nobody receives
	ReceiverWaiting                      // for the peer
	ReceiverPaused                       // it has input, and leaves it for a while
	ReceiverActive                       // between two messages: it will come back to flush
	ReceiverLast                         // the same, with the last message that has arrived: the first reply is written at once
)

// What becomes of a message that was left to the receiver.
type deferral uint8

const (
	deferralNone     deferral = iota
	deferralPending           // somebody looks after the receiver; nothing was written since the last look, or the beginning
	deferralMoving            // the same, and something was written
	deferralExpired           // the receiver did not come back in time: nothing is left to it until it does
	deferralGathered          // nothing to do with the receiver: more is likely to follow, and somebody is to call Release
)

// By says who flushes what was queued.
type By uint8

const (
	ByNobody   By = iota // a flush is under way and will see it, or the receiver
	ByCaller             // the caller has begun the flush, and writes what can be written without waiting
	ByReceiver           // the receiver, before it waits; somebody has to look after it: see Overdue
	ByAnother            // the caller has begun the flush, for whoever takes it over first
	ByRelease            // more is likely to follow: somebody begins the flush with Release
)

// Wake says who flushes what is queued.
func (q *Queue) Wake() By {
	q.lock()
	defer q.mu.Unlock()
	return q.wakeLocked(&NoLimit)
}

// isLeftToReceiverLocked reports whether what is queued is left to a receiver that somebody looks after already:
// wakeLocked then answers ByNobody.
func (q *Queue) isLeftToReceiverLocked() bool {
	return (q.deferral == deferralPending || q.deferral == deferralMoving) && q.receiver.Load() == ReceiverActive && q.state == open
}

// wakeLocked is called whenever something was queued, within limit.
func (q *Queue) wakeLocked(limit *Limit) By {
	if !q.flushableLocked() {
		return ByNobody
	}
	if receiver := q.receiver.Load(); receiver >= ReceiverActive && q.state == open && q.deferral != deferralExpired {
		switch {
		case receiver == ReceiverLast && q.receiver.CompareAndSwap(ReceiverLast, ReceiverActive):
			q.flushing = flushUnderWay
			return ByCaller
		case q.deferral != deferralNone:
			return ByNobody
		}
		q.deferral = deferralPending
		return ByReceiver
	}
	if q.state == open && limit.gathers() {
		switch {
		case q.pressesLocked(limit): // who goes on sending would be refused before somebody else comes to it
			q.flushing = flushUnderWay
			return ByCaller
		case q.deferral == deferralNone:
			q.deferral = deferralGathered
			return ByRelease
		case q.deferral == deferralGathered:
			return ByNobody
		}
	}
	q.flushing = flushAwaited
	return ByAnother
}

// gatheredBytes is from where it does not pay to wait for more: a write of so many costs what they do, and not what a
// write does.
const gatheredBytes = keptBatch / 2

// gatheredShare is which part of the bytes that a queue may have may wait: a large message is to find room beside them.
const gatheredShare = 16

// pressesLocked reports whether the queue has too much for what is gathered to wait: it is half full, or that is long.
func (q *Queue) pressesLocked(limit *Limit) bool {
	return int(q.messages) >= limit.Messages/2 || q.bytes >= gatheredBytes || limit.Bytes > 0 && q.bytes >= limit.Bytes/gatheredShare
}

// Release is for whoever the queue has answered with ByRelease. True says that the caller has begun a flush.
func (q *Queue) Release() (begun bool) {
	q.lock()
	defer q.mu.Unlock()
	if q.deferral == deferralGathered {
		q.deferral = deferralNone
	}
	return q.beginLocked()
}

// Overdue is for whoever looks after a receiver. begun says that the caller has begun a flush, as ByAnother, for which
// the receiver did not come; again, that it is to look again: the receiver is left alone for as long as there are
// flushes.
func (q *Queue) Overdue() (begun, again bool) {
	q.lock()
	defer q.mu.Unlock()
	switch {
	case !q.flushableLocked():
		q.deferral = deferralNone
		return false, false
	case q.deferral == deferralMoving:
		q.deferral = deferralPending
		return false, true
	}
	q.deferral, q.flushing = deferralExpired, flushAwaited
	return true, false
}

// receiverMovesLocked notes that something was written.
func (q *Queue) receiverMovesLocked() {
	if q.deferral == deferralPending {
		q.deferral = deferralMoving
	}
}

// Receiver returns what the receiver does.
func (q *Queue) Receiver() ReceiverState { return q.receiver.Load() }

// ReceiverWorks is called by the receiver when it has something to do.
func (q *Queue) ReceiverWorks() { q.receiver.Store(ReceiverActive) }

// ReceiverHasLast is called by the receiver when it has taken the last message that has arrived. The first reply to
// that is written at once, with all that is queued; but where the last one was answered with several, the receiver
// writes them all.
func (q *Queue) ReceiverHasLast() {
	if !q.manyReplies {
		q.receiver.Store(ReceiverLast)
	}
}

// ReceiverGone is called when nobody receives any more.
func (q *Queue) ReceiverGone() { q.receiver.Store(ReceiverAbsent) }

// ReceiverWaits is called by the receiver before it waits, with what it has received so far. True says that something
// is queued and that the caller has begun a flush.
func (q *Queue) ReceiverWaits(messages, bytes uint64) (begun bool) {
	return q.receiverRests(ReceiverWaiting, messages, bytes)
}

// ReceiverPauses is ReceiverWaits for a receiver that does not wait for the peer.
func (q *Queue) ReceiverPauses(messages, bytes uint64) (begun bool) {
	return q.receiverRests(ReceiverPaused, messages, bytes)
}

func (q *Queue) receiverRests(state ReceiverState, messages, bytes uint64) (begun bool) {
	q.lock()
	defer q.mu.Unlock()
	replied := !q.manyReplies && q.receiver.Load() == ReceiverActive
	q.receiver.Store(state) // under mu: who still finds it active has queued what this flush sees
	q.noteReceivedLocked(messages, bytes)
	if q.deferral == deferralExpired {
		q.deferral = deferralNone
	}
	if !q.flushableLocked() {
		return false
	}
	q.flushing = flushUnderWay
	q.manyReplies = replied || q.front.messages > 1
	return true
}

// NoteReceived is ReceiverWaits for a receiver that goes on, or has gone: it begins no flush.
func (q *Queue) NoteReceived(messages, bytes uint64) {
	q.lock()
	defer q.mu.Unlock()
	q.noteReceivedLocked(messages, bytes)
}

func (q *Queue) noteReceivedLocked(messages, bytes uint64) {
	if q.state != settled {
		q.messagesReceived, q.bytesReceived = messages, bytes
	}
}

// NoteLastReceived is NoteReceived for an end, behind which nothing more is counted. Of messages only the lowest bits
// are given, those of mask; fewer than half as many have come since the last note.
func (q *Queue) NoteLastReceived(messages, mask, bytes uint64) {
	q.lock()
	defer q.mu.Unlock()
	more := (messages - q.messagesReceived) & mask
	if more > mask/2 { // the note is the newer of the two
		more = 0
	}
	q.noteReceivedLocked(q.messagesReceived+more, bytes)
	q.state = settled
}
