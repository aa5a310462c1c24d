package sendqueue

// BeginFrame has Write put what a plain codec's Send writes into b.
func (q *Queue) BeginFrame(b *Batch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	r := q.rareLocked()
	r.frame, r.frameErr = b, nil
}

// EndFrame makes a message of what was written, or returns what a write was refused for.
func (q *Queue) EndFrame() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	b, err := q.rare.frame, q.rare.frameErr
	b.size = len(b.buf)
	q.rare.frame, q.rare.frameErr = nil, nil
	return err
}

// Write takes what a codec writes: a part of the frame that its Send makes, of maxFrame bytes at the most, or bytes
// that belong to no message, for which loose is the limit and which somebody has to flush. With outside they are that
// though a frame is made.
func (q *Queue) Write(p []byte, maxFrame, loose int, outside bool) (by By, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.rare != nil && q.rare.frame != nil && !outside {
		return ByNobody, q.writeFrameLocked(q.rare, p, maxFrame)
	}
	switch {
	case q.state != open:
		return ByNobody, ErrClosed
	case q.bytes > 0 && len(p) > loose-q.bytes:
		return ByNobody, ErrFull
	}
	q.backForLocked(len(p)).addLoose(p)
	q.bytes += len(p)
	return q.wakeLocked(&NoLimit), nil
}

func (q *Queue) writeFrameLocked(r *rare, p []byte, maxFrame int) error {
	switch {
	case q.state.isClosed():
		r.frameErr = ErrClosed
	case len(p) > maxFrame-len(r.frame.buf):
		r.frameErr = ErrTooLarge
	default:
		r.frame.grow(len(p))
		r.frame.buf = append(r.frame.buf, p...)
		return nil
	}
	return r.frameErr
}
