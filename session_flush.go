package libnet

import (
	"runtime"
	"sync/atomic"
	"time"

	"github.com/libnet-go/libnet/internal/lock"
	"github.com/libnet-go/libnet/internal/sendqueue"
)

// wake sees to it that what was queued is written.
func (s *Session) wake() { s.flushBy(s.q.Wake()) }

// flushBy has the one flush whom the queue has named.
func (s *Session) flushBy(by sendqueue.By) {
	switch by {
	case sendqueue.ByCaller:
		s.flushNow()
	case sendqueue.ByReceiver:
		s.owner.flusher.flushLater(s)
	case sendqueue.ByAnother:
		s.flushSoon()
	case sendqueue.ByRelease:
		s.owner.flusher.gather(s)
	}
}

// flushNow carries out a flush that has begun, in the caller if it need not wait for the peer.
func (s *Session) flushNow() {
	if s.writesAtOnce() {
		s.flushReady(s.q.Take())
	} else {
		go s.sendLoop()
	}
}

// writesAtOnce reports whether a write waits for nobody, and calls nothing of the user's.
func (s *Session) writesAtOnce() bool { return s.sock != nil && !s.sock.WriteMayWait() }

// flushSoon has a flush that has begun carried out on another goroutine: one of the flusher's, which never wait for a
// peer, or one of the session's own where a write may wait. crypto/tls and conns of the user's have no write that does
// not.
func (s *Session) flushSoon() {
	if s.writesAtOnce() {
		s.owner.flusher.flush(s, awaited)
	} else {
		go s.takeOverAndSend()
	}
}

func (s *Session) takeOverAndSend() {
	if s.q.TakeOver() {
		s.sendLoop()
	}
}

// sendLoop writes until the queue is empty. It waits for a slow peer, so it has a goroutine of its own.
// Whoever starts it has begun the flush.
func (s *Session) sendLoop() {
	err := ErrSessionClosed // stays if the user's conn or codec ends the goroutine
	defer func() {
		if err != nil {
			_ = s.outputFailed(err)
		}
	}()
	b, failed := s.q.Take(), error(nil)
	for b != nil && failed == nil {
		b, failed = s.writeWaiting(b)
	}
	err = failed
}

// flushReady writes b, which was taken from the queue, and what follows it until the queue is empty. It does not wait:
// what the kernel does not take at once it leaves to a send loop. A receiver must not wait for a peer that may itself
// be waiting to be read from. Nor must anybody be kept by others who go on sending: after flushTurn batches another
// goes on, behind all whose flush has begun.
func (s *Session) flushReady(b *sendqueue.Batch) {
	for turn := flushTurn; b != nil; turn-- {
		if turn == 0 {
			s.owner.flusher.flush(s, underWay)
			return
		}
		left := len(b.Rest())
		n, err := s.writeNow(b.Rest())
		next, closed := s.q.Wrote(b, n)
		switch {
		case err != nil:
			_ = s.outputFailed(err)
			return
		case closed != nil:
			return
		case next == b && n < left:
			go s.sendLoop()
			return
		}
		b = next
	}
}

// flushTurn is how many batches somebody writes who has other things to do. A batch is up to 128 KiB long.
const flushTurn = 16

// A flusher writes for sessions whose receiver is not about to. Its goroutines exist only while there
// is something to do.
//
// A message that is sent while the receiver works on another is left to the receiver, which flushes
// before it waits: a reply then costs no goroutine switch, and a run of replies one write. The
// flusher looks after receivers that do not come back within flushDelay.
type flusher struct {
	// busy is how many receivers have more messages in hand than the one that they have handed over: what these make
	// them send is better written together. It may be too low, and too high until something was gathered for too long.
	busy      atomic.Int32
	gathers   atomic.Bool   // gathered is not empty
	_         cacheLine     // all receivers change busy, and look at busyEpoch for each message
	busyEpoch atomic.Uint32 // counts up when busy begins anew, because something was gathered for too long
	_         cacheLine

	mu lock.Mutex[flusherLock]
	// mu guards the following.
	ready        []work // from taken on: to be carried out
	taken        int    // how many of ready are with a worker
	workers      int
	gathered     []*Session // their flush begins when a busy receiver is done
	gatheredLong bool       // a sweep has seen gathered
	deferred     []*Session // their receivers are looked after
	sweeping     bool

	lender sendqueue.Lender // of broadcasts' frames
}

// A cacheLine keeps what many processors change from what they read: 64 bytes are a line on most, 128 on some.
type cacheLine [128]byte

// work is a session's flush to be carried out.
type work struct {
	*Session
	flush progress
}

// progress is how far a flush is that is to be carried out.
type progress uint8

const (
	gathered progress = iota // it has not begun
	awaited                  // it has, and another may have come to it meanwhile
	underWay                 // it has, and is the worker's
)

// isMine reports whether the worker is to carry the flush out.
func (w work) isMine() bool {
	switch w.flush {
	case gathered:
		return w.q.Release()
	case awaited:
		return w.q.TakeOver()
	}
	return true
}

func (w work) do() {
	switch {
	case !w.isMine():
	case w.writesAtOnce():
		w.flushReady(w.q.Take())
	default:
		go w.sendLoop()
	}
}

type flusherLock struct{}

const (
	// flushDelay bounds how long a message waits for a receiver that is busy: two of it at most.
	flushDelay = time.Millisecond

	// readyPerWorker is how many sessions wait before another worker helps.
	readyPerWorker = 64

	// keptReady is how many places for ready sessions are kept for the next burst: a broadcast to that
	// many members allocates nothing here.
	keptReady = 16 << 10
)

// dialFlusher serves dialled sessions: there may be one or thousands of them in a process.
var dialFlusher flusher

// flush carries out a flush that has begun, soon and elsewhere.
func (f *flusher) flush(s *Session, is progress) {
	f.mu.Lock()
	f.ready = append(f.ready, work{s, is})
	start := f.missingLocked()
	f.mu.Unlock()
	f.startWorkers(start)
}

// missingLocked is how many workers are to be started, and enters them.
func (f *flusher) missingLocked() int {
	waiting := len(f.ready) - f.taken
	missing := min((waiting+readyPerWorker-1)/readyPerWorker, runtime.GOMAXPROCS(0)) - f.workers
	if missing <= 0 {
		return 0
	}
	f.workers += missing
	return missing
}

func (f *flusher) startWorkers(n int) {
	for range n {
		go f.work()
	}
}

// A burst is a receiver's part in flusher.busy. It has more messages in hand than the one that it hands over, and what
// these make it send to others leaves in one write when it has worked through them, or when that takes too long.
type burst struct {
	on    bool
	quick uint8  // how many messages it has to hand over before it is busy again
	epoch uint16 // flusher.busyEpoch when it began, its low bits
}

// quickMessages is how many messages a receiver hands over, after something was gathered for too long, before it is
// busy again: one whose handler waits for each message seldom gets there.
const quickMessages = 4

// lasts reports whether the receiver is one of busy.
func (b *burst) lasts(f *flusher) bool { return b.on && b.epoch == uint16(f.busyEpoch.Load()) }

// beginBurst is called with a message that has others behind it.
func (s *Session) beginBurst() {
	b, f := &s.burst, s.owner.flusher
	switch {
	case b.on:
		*b = burst{quick: quickMessages}
	case b.quick > 0:
		b.quick--
	default:
		b.on, b.epoch = true, uint16(f.busyEpoch.Load())
		f.busy.Add(1)
	}
}

// endBurst is called by the receiver when it is about to wait, and when it has ended.
func (s *Session) endBurst() {
	if s.burst.on && s.burst.lasts(s.owner.flusher) {
		s.owner.flusher.endBurst()
	}
	s.burst = burst{}
}

// gather has s flushed when a busy receiver is done, or when that takes too long.
func (f *flusher) gather(s *Session) {
	f.mu.Lock()
	f.gathered = append(f.gathered, s)
	f.gathers.Store(true)
	start := !f.sweeping
	f.sweeping = true
	f.mu.Unlock()
	if start {
		f.sweepSoon()
	}
	if f.busy.Load() <= 0 { // it is done since the queue was asked
		f.release()
	}
}

// endBurst is for a receiver that was busy.
func (f *flusher) endBurst() {
	for {
		n := f.busy.Load()
		if n <= 0 || f.busy.CompareAndSwap(n, n-1) {
			break
		}
	}
	if f.gathers.Load() {
		f.release()
	}
}

// release has what is gathered flushed.
func (f *flusher) release() {
	f.mu.Lock()
	for _, s := range f.gathered {
		f.ready = append(f.ready, work{s, gathered})
	}
	clear(f.gathered)
	if f.gathered = f.gathered[:0]; cap(f.gathered) > keptReady {
		f.gathered = nil
	}
	f.gathers.Store(false)
	f.gatheredLong = false
	start := f.missingLocked()
	f.mu.Unlock()
	f.startWorkers(start)
}

// work flushes what is ready, in order, without ever waiting for a peer.
func (f *flusher) work() {
	var share [readyPerWorker]work
	done := false
	defer func() {
		if !done { // user code has ended the goroutine
			f.goOn(share[:])
		}
	}()
	for {
		n := f.takeReady(&share)
		if n == 0 {
			done = true
			return
		}
		for i, w := range share[:n] {
			share[i] = work{}
			w.do()
		}
	}
}

// goOn has another goroutine be the worker that had taken these.
func (f *flusher) goOn(taken []work) {
	f.mu.Lock()
	for _, w := range taken {
		if w.Session != nil {
			f.ready = append(f.ready, w)
		}
	}
	f.mu.Unlock()
	go f.work()
}

// takeReady moves some of what is ready to share and returns how many; 0 ends the worker.
func (f *flusher) takeReady(share *[readyPerWorker]work) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := copy(share[:], f.ready[f.taken:])
	clear(f.ready[f.taken : f.taken+n])
	f.taken += n
	switch {
	case n == 0:
		f.workers--
	case f.taken == len(f.ready):
		f.ready, f.taken = f.ready[:0], 0
		if cap(f.ready) > keptReady {
			f.ready = nil
		}
	case f.taken > len(f.ready)/2: // which keeps moving linear
		rest := copy(f.ready, f.ready[f.taken:])
		clear(f.ready[rest:])
		f.ready, f.taken = f.ready[:rest], 0
	}
	return n
}

// flushLater looks after s's receiver, until the queue is empty or that is late.
func (f *flusher) flushLater(s *Session) {
	f.mu.Lock()
	f.deferred = append(f.deferred, s)
	start := !f.sweeping
	f.sweeping = true
	f.mu.Unlock()
	if start {
		f.sweepSoon()
	}
}

// sweepSoon uses a timer, because a goroutine that sleeps would outlive its server by flushDelay: a
// synctest bubble cannot end then.
func (f *flusher) sweepSoon() { time.AfterFunc(flushDelay, f.sweep) }

// sweep flushes deferred sessions whose receiver has let flushDelay pass.
func (f *flusher) sweep() {
	for _, s := range f.takeDeferred() {
		f.checkDeferred(s)
	}
	if f.gatheredTooLong() {
		// A receiver that takes its time, or does not come back, is no reason to gather the next messages, too.
		f.busyEpoch.Add(1)
		f.busy.Store(0)
		f.release()
	}
	f.mu.Lock()
	f.sweeping = len(f.deferred) > 0 || len(f.gathered) > 0
	again := f.sweeping
	f.mu.Unlock()
	if again {
		f.sweepSoon()
	}
}

// gatheredTooLong reports whether what is gathered was so at the last sweep.
func (f *flusher) gatheredTooLong() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	long := f.gatheredLong
	f.gatheredLong = len(f.gathered) > 0
	return long
}

func (f *flusher) takeDeferred() []*Session {
	f.mu.Lock()
	defer f.mu.Unlock()
	taken := f.deferred
	f.deferred = nil
	return taken
}

func (f *flusher) checkDeferred(s *Session) {
	begun, again := s.q.Overdue()
	if again {
		f.mu.Lock()
		f.deferred = append(f.deferred, s)
		f.mu.Unlock()
	}
	if begun {
		s.flushSoon()
	}
}
