package sendqueue

import "errors"

// A plain codec writes its frames, one at a time: whoever has one made has the turn, and others stand in line for it.
// A message takes the queue's lock once before its codec is called, once for each Write of that, and once behind it.

// frames is what a queue needs for them.
type frames struct {
	isTaken bool        // somebody has the turn
	line    waitingLine // for the turn
	frame   *Batch      // what a codec's Send writes goes here; nil while there is no such Send
	err     error       // why one of its writes was refused
	spare   *Batch      // an empty draft for the next frame; nil where nothing is queued
}

// A Turn says what a message does with the codec's turn.
type Turn uint8

const (
	KeepsTurn Turn = iota // the caller has it, and keeps it
	GivesTurn             // the caller has it, and gives it back with the message, whatever becomes of that
	TakesTurn             // the same, but it takes it with the message, if nobody has it
)

// ErrTurn is the answer to TakesTurn when somebody else has it.
var ErrTurn = errors.New("libnet: the codec's turn is another's")

// TakeTurn gives the caller the turn, or has it stand in line for that: it then returns what to wait for.
func (q *Queue) TakeTurn() (w *Waiter) {
	q.lock()
	defer q.mu.Unlock()
	f := &q.rareLocked().frames
	if !f.isTaken {
		f.isTaken = true
		return nil
	}
	w = newWaiter(nil, NoLimit)
	f.line.add(w)
	return w
}

// Done is received from once when w has what it waits for.
func (w *Waiter) Done() <-chan error { return w.done }

// LeaveTurn is for who waits no longer. Got says that it was given the turn meanwhile.
func (q *Queue) LeaveTurn(w *Waiter) (got bool) {
	q.lock()
	defer q.mu.Unlock()
	return !q.rare.frames.line.remove(w)
}

// GiveTurn gives the turn to who has waited longest.
func (q *Queue) GiveTurn() {
	q.lock()
	defer q.mu.Unlock()
	q.rare.frames.giveTurn()
}

func (f *frames) giveTurn() {
	if f.line.first == nil {
		f.isTaken = false
		return
	}
	f.line.pop().answer(nil)
}

// BeginFrame has Write put what a plain codec's Send writes into c, a draft, if there is room for a message, for which
// a nil limit does not ask. The caller then calls the codec, and EndFrame, DropFrame or PutFrame.
func (q *Queue) BeginFrame(limit *Limit, turn Turn) (c *Batch, err error) {
	q.lock()
	defer q.mu.Unlock()
	f := &q.rareLocked().frames
	err = q.mayBeginLocked(limit)
	if turn == TakesTurn {
		if err == nil && f.isTaken {
			err = ErrTurn
		}
		f.isTaken = f.isTaken || err == nil
	}
	switch {
	case err == nil:
		f.frame, f.err = f.draft(), nil
		return f.frame, nil
	case turn == GivesTurn:
		f.giveTurn()
	}
	return nil, err
}

func (f *frames) draft() *Batch {
	c := f.spare
	if f.spare = nil; c == nil {
		return getBatch()
	}
	return c
}

// keep makes c, whose message was copied to the back of the queue, the spare one until the queue is written: most of
// what a short message costs here would be for the pool.
func (f *frames) keep(c *Batch) {
	c.buf, c.size = c.buf[:0], 0
	f.spare = c
}

func (f *frames) freeSpare() {
	if f.spare != nil {
		f.spare.Free()
		f.spare = nil
	}
}

func (q *Queue) mayBeginLocked(limit *Limit) error {
	switch {
	case limit == nil:
	case q.state != open:
		return ErrClosed
	case q.sealedLocked():
		return ErrSealed
	case q.isFullLocked(limit):
		return ErrFull
	}
	return nil
}

// EndFrame makes a message of what was written, or returns what a write was refused for. The caller keeps the turn.
func (q *Queue) EndFrame() error {
	q.lock()
	defer q.mu.Unlock()
	return q.rare.frames.end()
}

// DropFrame is EndFrame for a frame that is not to be sent. The draft is the caller's.
func (q *Queue) DropFrame(turn Turn) {
	q.lock()
	defer q.mu.Unlock()
	f := &q.rare.frames
	_ = f.end()
	if turn != KeepsTurn {
		f.giveTurn()
	}
}

// PutFrame is EndFrame, and then Put, within one hold of the lock.
func (q *Queue) PutFrame(c *Batch, limit *Limit, turn Turn) (by By, err error) {
	q.lock()
	by, kept, err := q.putFrameLocked(c, limit)
	f := &q.rare.frames
	if !kept && q.back != nil && f.spare == nil {
		f.keep(c)
		kept = true
	}
	if turn != KeepsTurn {
		f.giveTurn()
	}
	q.mu.Unlock()
	if !kept {
		c.Free()
	}
	return by, err
}

func (q *Queue) putFrameLocked(c *Batch, limit *Limit) (by By, kept bool, err error) {
	if err := q.rare.frames.end(); err != nil {
		return ByNobody, false, err
	}
	return q.putLocked(c, limit)
}

func (f *frames) end() (err error) {
	f.frame.size = len(f.frame.buf)
	err = f.err
	f.frame, f.err = nil, nil
	return err
}

// Write takes what a codec writes: a part of the frame that its Send makes, of maxFrame bytes at the most, or bytes
// that belong to no message, for which loose is the limit and which somebody has to flush. With outside they are that
// though a frame is made.
func (q *Queue) Write(p []byte, maxFrame, loose int, outside bool) (by By, err error) {
	q.lock()
	defer q.mu.Unlock()
	if q.rare != nil && q.rare.frames.frame != nil && !outside {
		return ByNobody, q.rare.frames.write(p, maxFrame, q.state.isClosed())
	}
	switch {
	case q.state != open:
		return ByNobody, ErrClosed
	case q.sealedLocked(), q.bytes > 0 && len(p) > loose-q.bytes:
		return ByNobody, ErrFull
	}
	q.backForLocked(len(p)).addLoose(p)
	q.bytes += len(p)
	return q.wakeLocked(&NoLimit), nil
}

func (f *frames) write(p []byte, maxFrame int, closed bool) error {
	switch {
	case closed:
		f.err = ErrClosed
	case len(p) > maxFrame-len(f.frame.buf):
		f.err = ErrTooLarge
	default:
		f.frame.grow(len(p))
		f.frame.buf = append(f.frame.buf, p...)
		return nil
	}
	return f.err
}
