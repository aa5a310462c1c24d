package libnet

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
	b.free()
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
