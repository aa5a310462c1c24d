package libnet

// begin makes the caller the one who flushes; false when there is nothing to flush or somebody does.
func (q *sendQueue) begin() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	begun := q.flushableLocked()
	q.flushing = q.flushing || begun
	return begun
}

// flushableLocked reports whether there is something to flush and nobody who does.
func (q *sendQueue) flushableLocked() bool {
	return !q.flushing && q.front != nil && q.state != queueClosed
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
	q.receiverMovesLocked()
	q.admitLocked()
	if b.written < b.size {
		return b, nil
	}
	q.inflight = nil
	b.free()
	return q.takeLocked(), nil
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
	b.free()
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
