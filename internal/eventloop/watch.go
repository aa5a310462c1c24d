package eventloop

import (
	"sync/atomic"
	"time"
)

const (
	// watchPeriod is how often the watch looks: a handler that blocks holds up the other sources of
	// its poller for two periods at most.
	watchPeriod = 3 * time.Millisecond

	// idlePeriods is for how many periods the watch goes on with no poller at work.
	idlePeriods = 16

	// manyHandOvers within soonHandOvers say that handlers block often. They then get goroutines of
	// their own, each time, until none has blocked for detachFor: finding out anew would hold the
	// others up. A single one may only mean that the machine was busy.
	manyHandOvers = 4
	soonHandOvers = 100 * time.Millisecond
	detachFor     = time.Second

	// blocking is how long a handler on a goroutine of its own must take to count as blocking.
	blocking = 5 * time.Millisecond

	// rarely is how many sources are served for one whose handler seems to block, where it may just as well be that the
	// system gave its processor to another process for a while. A busy machine does that some ten times a second, and a
	// goroutine for each source would make it busier still.
	rarely = 512
)

// A watch takes the events of a poller whose handler blocks to another goroutine.
type watch struct {
	running   atomic.Bool
	tick      *tick                     // what the watch's goroutine waits for
	blockedAt atomic.Pointer[time.Time] // when handlers were last seen to block often; nil: never
	detached  atomic.Uint64             // sources served on goroutines of their own since a handler there last blocked
	handOvers [manyHandOvers]handOver   // the last ones, oldest first; owned by the watch's goroutine
}

// A handOver says when it was, and how many sources and waits the pollers had begun by then.
type handOver struct {
	at    time.Time
	begun uint64
}

// handlersBlock reports whether handlers are to get goroutines of their own.
func (w *watch) handlersBlock() bool {
	at := w.blockedAt.Load()
	return at != nil && time.Since(*at) < detachFor
}

func (w *watch) noteBlocking() {
	now := time.Now()
	w.blockedAt.Store(&now)
}

// noteDetached notes that a source was served on a goroutine of its own, and whether its handler blocked.
func (w *watch) noteDetached(blocked bool) {
	n := w.detached.Add(1)
	if !blocked {
		return
	}
	w.detached.Store(0)
	if n <= rarely {
		w.noteBlocking()
	}
}

// startWatch makes sure that the watch runs while a poller works.
func (l *Loop) startWatch() {
	if !l.watch.running.Load() && l.watch.running.CompareAndSwap(false, true) {
		go l.runWatch()
	}
}

// runWatch gives the pollers whose handler blocks to another goroutine.
func (l *Loop) runWatch() {
	seen := make([]uint64, len(l.pollers))
	for idle := 0; idle < idlePeriods; idle++ {
		l.watch.tick.wait()
		if l.closed.Load() { // a handler that still works holds nobody up; no other watch starts
			return
		}
		if l.checkPollers(seen) {
			idle = 0
		}
	}
	l.watch.running.Store(false)
	for _, p := range l.pollers {
		if p.working() { // it began while the watch ended
			l.startWatch()
			return
		}
	}
}

// checkPollers compares the pollers' progress with what was last seen of it, and reports whether any works.
func (l *Loop) checkPollers(seen []uint64) (working bool) {
	for i, p := range l.pollers {
		progress := p.progress.Load()
		if progress%2 == 0 { // waits for events
			continue
		}
		working = true
		if progress == seen[i] && p.handOver(progress) {
			l.watch.noteHandOver(l.begun())
		}
		seen[i] = progress
	}
	return working
}

// begun counts the sources and the waits that the pollers have begun.
func (l *Loop) begun() (n uint64) {
	for _, p := range l.pollers {
		n += p.progress.Load() / 2
	}
	return n
}

// noteHandOver notes one, with what the pollers have begun.
func (w *watch) noteHandOver(begun uint64) {
	this, first := handOver{time.Now(), begun}, w.handOvers[0]
	if this.at.Sub(first.at) < soonHandOvers && begun-first.begun <= manyHandOvers*rarely {
		w.noteBlocking()
	}
	copy(w.handOvers[:], w.handOvers[1:])
	w.handOvers[manyHandOvers-1] = this
}
