package sendqueue

// Begin makes the caller the one who flushes; false when there is nothing to flush or somebody does.
func (q *Queue) Begin() bool {
	q.lock()
	defer q.mu.Unlock()
	return q.beginLocked()
}

func (q *Queue) beginLocked() bool {
	begun := q.flushableLocked()
	if begun {
		q.flushing = flushUnderWay
	}
	return begun
}

// TakeOver is for whoever comes to a flush that was begun ByAnother, or would rather have it carried out now. False
// says that somebody else does so, or has: the caller leaves the queue alone.
func (q *Queue) TakeOver() bool {
	q.lock()
	defer q.mu.Unlock()
	mine := q.flushing == flushAwaited
	if mine {
		q.flushing = flushUnderWay
	}
	return mine
}

// flushableLocked reports whether there is something to flush and nobody who does.
func (q *Queue) flushableLocked() bool {
	return q.flushing == noFlush && q.front != nil && !q.state.isClosed()
}

// Take returns what a flush that has begun is to write next. At nil it has ended.
func (q *Queue) Take() *Batch {
	q.lock()
	defer q.mu.Unlock()
	return q.takeLocked()
}

func (q *Queue) takeLocked() *Batch {
	switch {
	case q.flushing == flushYields:
		q.yieldLocked()
		return nil
	case q.inflight != nil:
	case q.front == nil || q.state.isClosed():
		q.lastWrittenLocked()
		q.endLocked()
		return nil // what is in flight now is another's
	default:
		q.inflight = q.unlinkFrontLocked()
	}
	return q.inflight
}

// Wrote counts n bytes of b, the Batch in flight, as written. It returns what to write next: b itself
// until it is written whole; at nil the flush has ended. The error says that b was given up meanwhile.
func (q *Queue) Wrote(b *Batch, n int) (next *Batch, err error) {
	q.lock()
	defer q.mu.Unlock()
	if b != q.inflight {
		return nil, ErrClosed
	}
	messages := b.wrote(n)
	q.messages -= int32(messages)
	q.bytes -= n
	q.messagesOut += uint64(messages)
	q.bytesOut += uint64(n)
	q.receiverMovesLocked()
	if q.rare != nil {
		q.rare.waits.wrote(messages)
		q.admitLocked()
	}
	if b.written < b.size {
		if q.flushing == flushYields {
			q.yieldLocked()
			return nil, nil
		}
		return b, nil
	}
	q.inflight = nil
	b.Free()
	return q.takeLocked(), nil
}

// Gave counts the first message of a bare session's Batch in flight, which was given to its codec, as sent or as not.
func (q *Queue) Gave(b *Batch, sent bool) (next *Batch, err error) {
	q.lock()
	defer q.mu.Unlock()
	if b != q.inflight {
		return nil, ErrClosed
	}
	b.msgs[b.first] = nil
	b.first++
	b.messages--
	q.messages--
	switch {
	case sent:
		q.messagesOut++
	case !b.own:
		q.rareLocked().discarded++
	}
	if q.rare != nil {
		q.rare.waits.gave(sent)
	}
	q.admitLocked()
	if b.messages > 0 {
		return b, nil
	}
	q.inflight = nil
	b.Free()
	return q.takeLocked(), nil
}

// Fail ends a flush that could not go on, and closes the queue.
func (q *Queue) Fail(err error) {
	q.lock()
	defer q.mu.Unlock()
	q.rareLocked().failed = err
	q.state = max(q.state, closed)
	q.endLocked()
	q.admitLocked()
}

// Failure returns what ended a flush, or the other reason if none failed.
func (q *Queue) Failure(other error) error {
	q.lock()
	defer q.mu.Unlock()
	if q.rare != nil && q.rare.failed != nil {
		return q.rare.failed
	}
	return other
}

// Abandon gives a flush up that does not come back though its conn was closed: what it has in flight counts as
// discarded.
func (q *Queue) Abandon() {
	q.lock()
	defer q.mu.Unlock()
	q.state = max(q.state, closed)
	if q.flushing != noFlush {
		q.endLocked()
	}
	q.admitLocked()
}

func (q *Queue) IsClosed() bool {
	q.lock()
	defer q.mu.Unlock()
	return q.state.isClosed()
}

// endLocked ends a flush. The first of those who wait for their turn begins another.
func (q *Queue) endLocked() {
	q.flushing = noFlush
	if q.state.isClosed() {
		q.discardLocked()
	}
	if q.rare != nil && q.front == nil {
		q.rare.frames.freeSpare()
	}
	q.grantTurnLocked()
	q.idleLocked()
}

// idleLocked tells those who wait that nothing is queued, if that is so.
func (q *Queue) idleLocked() {
	if !q.isIdleLocked() || q.rare == nil || q.rare.idle == nil {
		return
	}
	close(q.rare.idle)
	q.rare.idle = nil
}

// isIdleLocked reports whether nothing is queued, or nothing that can still be written.
func (q *Queue) isIdleLocked() bool {
	return q.flushing == noFlush && (q.front == nil || q.state.isClosed())
}

// Close refuses further messages and discards what no flush has taken. What a flush has in flight is
// counted when it ends.
func (q *Queue) Close() {
	q.lock()
	defer q.mu.Unlock()
	q.state = max(q.state, closed)
	if q.flushing == noFlush || q.flushing == flushHeld {
		q.endLocked()
	}
	q.admitLocked()
}

// discardLocked counts as discarded, and drops, what is left. A message whose Send waits is not discarded: its Send
// says so.
func (q *Queue) discardLocked() {
	discarded := int(q.messages)
	if b := q.inflight; b != nil {
		if b.written > 0 {
			q.rareLocked().isCut = true
		}
		if b.own {
			discarded -= b.messages
		}
	}
	if discarded > 0 {
		q.rareLocked().discarded += uint64(discarded)
	}
	q.emptyLocked()
}

// emptyLocked forgets all that is queued or in flight.
func (q *Queue) emptyLocked() {
	q.front, q.back, q.inflight = nil, nil, nil
	q.messages, q.bytes = 0, 0
	if q.rare != nil {
		q.rare.waits.forgetAll()
	}
}

// Idle returns a channel that is closed when nothing is queued, or nil when that is so already.
func (q *Queue) Idle() <-chan struct{} {
	q.lock()
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
