package sendqueue

// dropDownToLocked discards the oldest messages that no flush has taken until the queue is within its limit or only the
// newest of them is left.
func (q *Queue) dropDownToLocked(limit *Limit) {
	pending := int(q.messages) - q.inflightLocked()
	for ; pending > 1 && (int(q.messages) > limit.Messages || limit.Bytes > 0 && q.bytes > limit.Bytes); pending-- {
		q.dropOldestLocked()
	}
}

// inflightLocked is how many messages are in flight.
func (q *Queue) inflightLocked() int {
	if q.inflight == nil {
		return 0
	}
	return q.inflight.messages
}

// dropOldestLocked discards the oldest message that no flush has taken; there must be one. A Batch that has no message
// more is given back, and what else it holds goes to one before it.
func (q *Queue) dropOldestLocked() {
	var before *Batch
	b := q.front
	for ; b.messages == 0; b = b.next {
		before = b
	}
	q.bytes -= b.dropFirst()
	q.messages--
	r := q.rareLocked()
	r.discarded++
	r.dropped++
	r.waits.dropped(q.inflightLocked())
	if b.messages > 0 || b == q.back {
		return
	}
	if loose := b.Rest(); len(loose) > 0 {
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
	b.Free()
}

// insertLocked puts an empty Batch between two that follow each other, of which the first may be none.
func (q *Queue) insertLocked(before, b *Batch) *Batch {
	c := getBatch()
	c.next = b
	if before == nil {
		q.front = c
	} else {
		before.next = c
	}
	return c
}
