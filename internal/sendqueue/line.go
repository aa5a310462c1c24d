package sendqueue

import (
	"errors"
)

// A waitingLine has those who wait for a queue, in the order they came: for room, with SendContext, or, on a
// synchronous session, for their turn to write. Who comes first is served first, by whoever makes the room or ends a
// flush, so nobody wakes up in vain.
type waitingLine struct{ first, last *Waiter }

type Waiter struct {
	before, next *Waiter
	in           bool // in the line

	msg   *Batch // nil where its sender encodes it when there is room
	limit Limit
	done  chan error // of one place; gets nil once msg is in the queue, or in flight where it was a turn that was waited for

	turn   bool // waits for an idle queue, to write msg itself
	passed int  // how many took the queue before it though it was first
}

func newWaiter(msg *Batch, limit Limit) *Waiter {
	return &Waiter{msg: msg, limit: limit, done: make(chan error, 1)}
}

func (l *waitingLine) add(w *Waiter) {
	w.in = true
	if l.first == nil {
		l.first, l.last = w, w
		return
	}
	w.before = l.last
	l.last.next, l.last = w, w
}

func (l *waitingLine) pop() *Waiter {
	w := l.first
	l.remove(w)
	return w
}

// remove takes w out and reports whether it was in the line.
func (l *waitingLine) remove(w *Waiter) bool {
	if !w.in {
		return false
	}
	w.in = false
	if w.before == nil {
		l.first = w.next
	} else {
		w.before.next = w.next
	}
	if w.next == nil {
		l.last = w.before
	} else {
		w.next.before = w.before
	}
	w.before, w.next = nil, nil
	return true
}

// LineUp queues the message of msg, a draft, which it takes in any case, or has its sender stand in line: it then
// returns what to await.
func (q *Queue) LineUp(msg *Batch, limit Limit) (w *Waiter, by By, err error) {
	w, by, kept, err := q.lineUpDraft(msg, limit)
	if !kept {
		msg.Free()
	}
	return w, by, err
}

func (q *Queue) lineUpDraft(msg *Batch, limit Limit) (w *Waiter, by By, kept bool, err error) {
	q.lock()
	defer q.mu.Unlock()
	if q.state != open {
		return nil, ByNobody, false, ErrClosed
	}
	if !q.fullLocked(msg.size, &limit) && !q.hasLineLocked() && !q.sealedLocked() {
		kept = q.appendLocked(msg)
		return nil, q.wakeLocked(&limit), kept, nil
	}
	w = newWaiter(msg, limit)
	q.rareLocked().line.add(w)
	return w, ByNobody, true, nil
}

// AwaitRoom waits until there is room for a message, which the caller does not have yet; another may take it.
func (q *Queue) AwaitRoom(ctx Context, limit Limit) error {
	q.lock()
	w := newWaiter(nil, limit)
	q.rareLocked().line.add(w)
	q.admitLocked()
	q.mu.Unlock()
	return q.Await(ctx, w)
}

// Await waits until w's message is queued or, where it was a turn that was waited for, in flight and the caller's to
// write. When ctx ends before, the message is taken back.
func (q *Queue) Await(ctx Context, w *Waiter) error {
	for {
		select {
		case err := <-w.done:
			if err != errYourTurn {
				return err
			}
			if q.takeTurn(w) {
				return nil
			}
		case <-ctx.Done():
			if q.withdraw(w) {
				if w.msg != nil {
					w.msg.Free()
				}
				return ctx.Err()
			}
			return <-w.done
		}
	}
}

// maxPassed is how often the first in the line may lose its turn to one who runs already: as long as it takes to wake
// up. After that the queue is kept for it.
const maxPassed = 16

// errYourTurn wakes the first in the line, who is then to take its turn.
var errYourTurn = errors.New("libnet: the queue is idle")

// Claim makes the caller the one who flushes, beginning with msg, a draft; or has it stand in line for that: behind all
// others with inOrder, for messages that must be written as they were encoded. Of a queue that is held nobody knows for
// how long: queued says that it has taken msg, if it has not taken many.
func (q *Queue) Claim(msg *Batch, inOrder bool) (w *Waiter, queued bool, err error) {
	q.lock()
	defer q.mu.Unlock()
	msg.seal()
	msg.own = true
	behindLine := inOrder && q.hasLineLocked()
	switch {
	case q.state != open:
		return nil, false, ErrClosed
	case q.isIdleLocked() && !behindLine && q.mayPassLocked():
		q.flushOwnLocked(msg)
		return nil, false, nil
	case q.flushing == flushHeld && !behindLine && !q.sealedLocked() && q.takesHeldLocked(msg):
		msg.keep()
		q.countLocked(msg.size)
		q.linkLocked(msg)
		return nil, true, nil
	}
	w = newWaiter(msg, NoLimit)
	w.turn = true
	q.rareLocked().line.add(w)
	return w, false, nil
}

// mayPassLocked reports whether one who does not stand in the line may go before those who do.
func (q *Queue) mayPassLocked() bool {
	if !q.hasLineLocked() {
		return true
	}
	first := q.rare.line.first
	first.passed++
	return first.passed < maxPassed
}

// passesLocked is mayPassLocked for one who queues a message, and so delays only those who wait for room.
func (q *Queue) passesLocked() bool {
	return !q.hasLineLocked() || q.rare.line.first.turn || q.mayPassLocked()
}

// HasLine reports whether somebody waits.
func (q *Queue) HasLine() bool {
	q.lock()
	defer q.mu.Unlock()
	return q.hasLineLocked()
}

func (q *Queue) hasLineLocked() bool { return q.rare != nil && q.rare.line.first != nil }

func (q *Queue) flushOwnLocked(msg *Batch) {
	q.flushing, q.inflight = flushUnderWay, msg
	q.countLocked(msg.size)
}

// grantTurnLocked wakes the first in the line, if it waits for its turn and nobody flushes; or gives it the queue, if
// it has been passed too often.
func (q *Queue) grantTurnLocked() {
	if q.state != open || q.rare == nil || q.flushing != noFlush || q.front != nil {
		return
	}
	w := q.rare.line.first
	if w == nil || !w.turn {
		return
	}
	if w.passed < maxPassed {
		select {
		case w.done <- errYourTurn:
		default: // is waking up already
		}
		return
	}
	q.flushOwnLocked(q.rare.line.pop().msg)
	w.answer(nil)
}

// answer tells w what came of its message. It has left the line.
func (w *Waiter) answer(err error) {
	select {
	case <-w.done: // a call to its turn, which is no more
	default:
	}
	w.done <- err
}

// takeTurn is for w when it was woken: true says that its message is in flight, false that it has to wait on.
func (q *Queue) takeTurn(w *Waiter) bool {
	q.lock()
	defer q.mu.Unlock()
	if q.state != open || !q.isIdleLocked() || !q.rare.line.remove(w) {
		return false
	}
	q.flushOwnLocked(w.msg)
	return true
}

// admitLocked queues the messages of those in the line for which there is room, and turns all away once the queue takes
// no more.
func (q *Queue) admitLocked() {
	if q.rare == nil {
		return
	}
	line := &q.rare.line
	for w := line.first; w != nil; w = line.first {
		switch {
		case q.state != open:
			line.pop().answer(ErrClosed)
			continue
		case w.turn || q.sealedLocked() || q.fullLocked(w.size(), &w.limit):
			return
		}
		q.admitFirstLocked()
	}
}

func (q *Queue) admitFirstLocked() {
	w := q.rare.line.pop()
	if w.msg != nil && !q.appendLocked(w.msg) {
		w.msg.Free()
	}
	w.answer(nil)
}

func (w *Waiter) size() int {
	if w.msg == nil {
		return 0
	}
	return w.msg.size
}

// withdraw takes w out of the line and reports whether it was still there: else done has got what it waited for. Those
// behind it may find room that was too small for it.
func (q *Queue) withdraw(w *Waiter) bool {
	q.lock()
	defer q.mu.Unlock()
	left := q.rare.line.remove(w)
	if left {
		q.admitLocked()
		q.grantTurnLocked()
	}
	return left
}
