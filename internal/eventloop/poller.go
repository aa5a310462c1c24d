package eventloop

import (
	"sync/atomic"

	"github.com/libnet-go/libnet/internal/lock"
	"github.com/libnet-go/libnet/internal/sysmon"
)

// A poller waits for many sources at a time, on a queue of its own, and serves them one behind the other.
type poller struct {
	// Immutable after newPoller.
	loop  *Loop
	queue *queue

	// progress is odd while the poller works and counts up with every source it begins to serve.
	progress atomic.Uint64

	mu lock.Mutex[pollerLock]
	// mu guards the following.
	generation uint64 // the goroutine that runs with this number owns what follows

	// Owned by the goroutine of this generation. While progress is even, there is no new one.
	ready  []Source // ready[at:] are to be served, next first
	at     int
	again  []Source // to be served once more, after all that is ready by then
	detach bool     // each is to be served on a goroutine of its own
}

// pollerLock is the class of the lock in docs/locks.md.
type pollerLock struct{}

func newPoller(l *Loop) (*poller, error) {
	q, err := newQueue()
	if err != nil {
		return nil, err
	}
	p := &poller{loop: l, queue: q}
	p.progress.Store(1)
	return p, nil
}

// working reports whether the poller is not just waiting for events.
func (p *poller) working() bool { return p.progress.Load()%2 == 1 }

// run serves sources for as long as the goroutine is of the poller's generation.
func (p *poller) run(generation uint64) {
	for {
		src, detach, ok := p.next(generation)
		switch {
		case !ok:
			return
		case !src.ServeState().begin():
		case detach:
			go p.loop.serveDetached(src)
		default:
			p.serve(generation, src)
		}
	}
}

// next returns the source to serve next, waiting if there is none, and whether it is to have a goroutine
// of its own. It is not ok when there is a new generation or the loop was closed.
func (p *poller) next(generation uint64) (src Source, detach, ok bool) {
	for {
		p.mu.Lock()
		if p.generation != generation {
			p.mu.Unlock()
			return nil, false, false
		}
		if p.at < len(p.ready) {
			src, p.ready[p.at] = p.ready[p.at], nil // a closed source must not be kept
			p.at++
			detach = p.detach
			p.progress.Add(2)
			p.mu.Unlock()
			return src, detach, true
		}
		p.progress.Add(1)
		p.mu.Unlock()
		if p.wait() != nil {
			return nil, false, false
		}
		p.progress.Add(1)
		sysmon.AfterWait()
		p.loop.startWatch()
	}
}

// wait fills ready with the sources that can be read. It waits for one unless some are to be served
// again.
func (p *poller) wait() error {
	n, err := p.queue.wait(len(p.again) == 0)
	if err != nil {
		return err
	}
	p.ready, p.at = p.ready[:0], 0
	for i := range n {
		id, all := p.queue.event(i)
		src := p.loop.host.Lookup(id)
		if src == nil {
			continue
		}
		if all {
			src.ServeState().bits.Or(readAll)
		}
		p.ready = append(p.ready, src)
	}
	p.ready = append(p.ready, p.again...)
	clear(p.again)
	p.again = p.again[:0]
	p.detach = p.loop.watch.handlersBlock()
	return nil
}

// serve serves src. What remains to be read waits until the others were served.
func (p *poller) serve(generation uint64, src Source) {
	more := p.loop.host.Serve(src)
	if arrived := src.ServeState().release(); !arrived && !more {
		return
	}
	p.mu.Lock()
	mine := p.generation == generation
	if mine {
		p.again = append(p.again, src)
	}
	p.mu.Unlock()
	if !mine && src.ServeState().begin() {
		p.loop.serveDetached(src)
	}
}

// handOver has a new goroutine go on with the poller's events; false if the one that had them went on meanwhile.
func (p *poller) handOver(seen uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.progress.Load() != seen {
		return false
	}
	p.generation++
	p.detach = p.loop.watch.handlersBlock() // what waits behind a handler that blocked may block, too
	p.progress.Add(2)
	go p.run(p.generation)
	return true
}
