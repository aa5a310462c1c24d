package eventloop

import (
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A Source is what a loop serves.
type Source interface {
	// ServeState returns the same State each time.
	ServeState() *State
}

// A Host owns the sources of one loop.
type Host interface {
	// Lookup returns the source that was registered with id, or nil if there is none any more.
	Lookup(id uint64) Source

	// Serve reads once from the source and works on what it brought, and reports whether there may be more to read.
	// It is called by one goroutine at a time for each source. It may block.
	Serve(Source) (more bool)
}

// A Loop serves the sources of one host: a poller for each processor, and a watch over them while they work. Its
// methods may be called by any goroutine.
type Loop struct {
	host    Host
	pollers []*poller

	started sync.Once
	added   atomic.Uint64 // registrations so far
	closed  atomic.Bool
	watch   watch
}

// New makes a loop, to be closed when no source needs it any more. Its error is [errors.ErrUnsupported] where the
// system has nothing to wait for many descriptors with.
func New(h Host) (*Loop, error) {
	l := &Loop{host: h}
	for range runtime.GOMAXPROCS(0) {
		p, err := newPoller(l)
		if err != nil {
			l.Close()
			return nil, err
		}
		l.pollers = append(l.pollers, p)
	}
	l.watch.tick = newTick(watchPeriod) // the pollers come first where descriptors are short: it can do without
	return l, nil
}

// Close ends the pollers. No source is open any more; a handler that still works holds nobody up.
func (l *Loop) Close() {
	l.closed.Store(true)
	for _, p := range l.pollers {
		p.queue.close()
	}
	if l.watch.tick != nil { // else New has failed
		l.watch.tick.close()
	}
}

// Register has a poller serve the source with this id whenever its descriptor can be read, until that is closed.
func (l *Loop) Register(id uint64, raw syscall.RawConn) error {
	l.started.Do(l.start)
	return l.pollers[l.added.Add(1)%uint64(len(l.pollers))].queue.add(id, raw)
}

// Forget has no poller tell of a descriptor any more that is to be closed here and stays open in another process: the
// system would go on telling of it.
func (l *Loop) Forget(raw syscall.RawConn) {
	for _, p := range l.pollers {
		p.queue.remove(raw)
	}
}

// start has the pollers run, from the first source on: where none comes, as in a test with conns in memory, nobody
// waits for the system.
func (l *Loop) start() {
	for _, p := range l.pollers {
		go p.run(0)
	}
}

// Release ends the caller's serving of a source that it has started: if something arrived meanwhile it serves that
// before it returns.
func (l *Loop) Release(src Source) {
	if src.ServeState().end() {
		l.serveDetached(src)
	}
}

// ReleaseAside is Release for a caller who must not be held up.
func (l *Loop) ReleaseAside(src Source) {
	if src.ServeState().end() {
		go l.serveDetached(src)
	}
}

// Serve serves a source that was left unserved though it has more, on the caller's goroutine, or has whoever serves it
// do so once more. The source was started.
func (l *Loop) Serve(src Source) {
	if src.ServeState().begin() {
		l.serveDetached(src)
	}
}

// serveDetached serves src on a goroutine that holds nobody up.
func (l *Loop) serveDetached(src Source) {
	for {
		began := time.Now()
		more := l.host.Serve(src)
		l.watch.noteDetached(time.Since(began) > blocking)
		if state := src.ServeState(); (!more || state.isHeld()) && !state.end() {
			return
		}
	}
}
