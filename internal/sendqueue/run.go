package sendqueue

import (
	"math"
	"slices"
	"sync/atomic"

	"github.com/libnet-go/libnet/internal/lock"
)

// lenderLock is the class of lenders' locks; see docs/locks.md.
type lenderLock struct{}

// A Lender has short frames that many queues are to write, each behind the one before it, in memory that all of them
// read and nobody changes. The zero value is ready.
type Lender struct {
	mu lock.Mutex[lenderLock]
	// mu guards the following, and the runs.
	newest *run
}

// A run is frames of a burst, each of which is for all queues that follow it. So a queue need not be told of each: it
// takes what the run has become when it is next looked at, whoever locks it, and follows no more. What it was lent is
// counted and ordered as if it had been put then, since nobody has seen the queue in between.
//
// Somebody is sure to lock a queue that follows, since it has something to write: who had to see to that when it began
// to follow flushes the rest as well.
type run struct {
	lender    *Lender
	id        uint32 // another one for each run that is begun; never 0
	bytes     []byte // up to the end of the last frame, with what was lent before the first
	ends      []int  // where each frame ends in bytes
	followers int

	// How far the run may grow: no follower is to have more than may wait for it.
	maxFrames, maxBytes int
}

// lentRoom is for how many bytes of frames lie one behind the other. A queue that is not written from keeps two such
// pieces from being freed at the most: one in flight, one at its end.
const lentRoom = 32 << 10

// lastRun has the ids of all runs. They come again after 4 billion, by when no queue follows the old one.
var lastRun atomic.Uint32

func newRunID() uint32 {
	for {
		if id := lastRun.Add(1); id != 0 {
			return id
		}
	}
}

// A Lent is a frame of a Lender's.
type Lent struct {
	Bytes []byte // has what is free behind it for its capacity

	run  *run
	id   uint32
	ends int // how many frames the run had with this one
}

// Lend begins a run with a copy of frame, which lies behind all that was lent before.
func (l *Lender) Lend(frame []byte) Lent {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.newest
	switch {
	case r == nil:
		r = &run{lender: l}
	case r.followers > 0:
		r = &run{lender: l, bytes: r.bytes}
	}
	l.newest = r
	r.id, r.ends = newRunID(), r.ends[:0]
	r.maxFrames, r.maxBytes = math.MaxInt, math.MaxInt
	if free := cap(r.bytes) - len(r.bytes); free < len(frame) || free < lentRoom/2 {
		r.bytes = make([]byte, 0, max(lentRoom, len(frame)))
	}
	return r.addLocked(frame)
}

func (r *run) addLocked(frame []byte) Lent {
	at := len(r.bytes)
	r.bytes = append(r.bytes, frame...)
	r.ends = append(r.ends, len(r.bytes))
	return Lent{r.bytes[at:], r, r.id, len(r.ends)}
}

// Extend lends a copy of frame to all queues that follow the newest run, if followers, which is given that, counts as
// many of them as there are: it looks through those for whom the frame is. It is called with the Lender locked. Not ok
// says that nothing was lent, for there are others, or one of them has little room; or none follows.
func (l *Lender) Extend(frame []byte, followers func(Followed) int) (lent Lent, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.newest
	if r == nil || r.followers == 0 || !r.hasRoom(len(frame)) || followers(Followed{r.id}) != r.followers {
		return Lent{}, false
	}
	return r.addLocked(frame), true
}

func (r *run) hasRoom(n int) bool {
	end := len(r.bytes) + n
	return end <= cap(r.bytes) && end <= r.maxBytes && len(r.ends) < r.maxFrames
}

// Followed is a run that queues follow.
type Followed struct{ id uint32 }

// By reports whether q follows the run.
func (f Followed) By(q *Queue) bool { return q.follows.Load() == f.id }

// Follows reports whether q follows a run.
func (q *Queue) Follows() bool { return q.follows.Load() != 0 }

// followLocked has q follow the run of a frame that was put into it, where that is likely to go on: the queue waits for
// a receiver with more messages in hand, or was lent more than this one. Nothing else may be in the queue, nor anybody
// wait for it.
func (q *Queue) followLocked(l *Lent, limit *Limit) {
	b := q.back
	if b != q.front || len(b.lent) == 0 || len(l.Bytes) == 0 || q.rare != nil || q.state != open ||
		b.messages < 2 && q.deferral != deferralGathered {
		return
	}
	frames, bytes := q.mayFollowLocked(limit)
	if frames <= 0 || bytes <= 0 {
		return
	}
	r := l.run
	r.lender.mu.Lock()
	if r.id == l.id && len(r.ends) == l.ends {
		r.followers++
		r.maxFrames = min(r.maxFrames, l.ends+frames)
		r.maxBytes = min(r.maxBytes, len(r.bytes)+bytes)
		b.run, b.ran = r, l.ends
		q.follows.Store(r.id)
	}
	r.lender.mu.Unlock()
}

// mayFollowLocked is how many frames, and bytes of them, may be put into the queue that somebody writes already: what
// presses is looked at with each.
func (q *Queue) mayFollowLocked(limit *Limit) (frames, bytes int) {
	frames = min(limit.Messages/2-int(q.messages), batchParts-len(q.back.parts)) - 1
	bytes = gatheredBytes - q.bytes
	if limit.Bytes > 0 {
		bytes = min(bytes, limit.Bytes/gatheredShare-q.bytes)
	}
	return frames, bytes - 1
}

// leaveRunLocked takes what was lent to the queue since it has followed the run.
func (q *Queue) leaveRunLocked() {
	b := q.back
	r := b.run
	messages, size := b.messages, b.size
	r.lender.mu.Lock()
	b.follows(r.ends[b.ran-1:])
	r.followers--
	q.follows.Store(0)
	r.lender.mu.Unlock()
	q.messages += int32(b.messages - messages)
	q.bytes += b.size - size
}

// follows makes messages of b of all frames but the first, which is the last that b has, and leaves the run.
func (b *Batch) follows(ends []int) {
	before := ends[0] - b.size // what lies before b's first frame
	for _, end := range ends[1:] {
		b.parts = append(b.parts, part(end-before))
	}
	last := ends[len(ends)-1] - before
	b.lent = b.lent[:len(b.lent)+last-b.size]
	b.buf = slices.Clip(b.lent)
	b.size = last
	b.messages += len(ends) - 1
	b.run = nil
}
