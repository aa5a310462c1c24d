package sendqueue

// A framing may have a frame that ends the stream, behind all others: WebSocket's has. It is queued when the queue
// refuses messages, or written by who closes it, where nothing of the stream is left half written.

// Drain refuses further messages, and has last written behind those that are queued: bytes that belong to no message,
// perhaps none. It does nothing twice.
func (q *Queue) Drain(last []byte) {
	q.lock()
	defer q.mu.Unlock()
	if q.state == open {
		q.state = draining
		if len(last) > 0 {
			q.rareLocked().last = true
			q.backForLocked(len(last)).addLoose(last)
			q.bytes += len(last)
		}
	}
	q.admitLocked()
}

// lastWrittenLocked is called when nothing is in flight. Where nothing is left either, the bytes that end the stream
// are written, if they were queued: also in a queue that was closed while a flush had them.
func (q *Queue) lastWrittenLocked() {
	if q.front == nil && q.rare != nil && q.rare.last {
		q.rare.lastIsOut = true
	}
}

// LastIsOut reports whether the bytes that end the stream are written.
func (q *Queue) LastIsOut() bool {
	q.lock()
	defer q.mu.Unlock()
	return q.rare != nil && q.rare.lastIsOut
}

// TakesLast reports, of a closed queue, whether its owner may write the bytes that end the stream: nothing is in
// flight, what was written ends with a whole frame, and these are not among it. Where it may not yet, soon says that a
// flush is under way that may end so. begun says that the stream began with bytes that were not the queue's.
func (q *Queue) TakesLast(begun bool) (now, soon bool) {
	q.lock()
	defer q.mu.Unlock()
	if r := q.rare; r != nil && (r.lastIsOut || r.isCut || r.sealed || r.failed != nil) || !q.state.isClosed() {
		return false, false
	}
	if q.flushing != noFlush {
		return false, true
	}
	return begun || q.bytesOut > 0, false // else nothing has begun that could be ended
}
