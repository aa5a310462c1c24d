package libnet

import (
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libnet-go/libnet/internal/sockets"
)

// An eventLoop serves the sessions of one ServeMessages: a poller for each processor, and a watch over
// them while they work.
type eventLoop struct {
	server  *Server
	handler MessageHandler
	pollers []*poller
	shared  sockets.Shared

	started    sync.Once
	added      atomic.Uint64 // sessions so far
	closed     atomic.Bool
	watching   atomic.Bool
	eagerUntil atomic.Int64             // in Unix nanoseconds; 0: never
	handovers  [manyHandovers]time.Time // the last ones, oldest first; owned by the watch
}

const (
	// watchPeriod is how often the watch looks: a handler that blocks holds up the other sessions of
	// its poller for two periods at most.
	watchPeriod = 3 * time.Millisecond

	// idleWatches is for how many periods the watch goes on with no poller at work.
	idleWatches = 16

	// manyHandovers within soonHandovers say that handlers block often. They then get goroutines of
	// their own, each time, until none has blocked for eagerFor: finding out anew would hold the
	// others up. A single one may only mean that the machine was busy.
	manyHandovers = 4
	soonHandovers = 100 * time.Millisecond
	eagerFor      = time.Second

	// blocked is how long a handler on a goroutine of its own must take to count as blocking.
	blocked = 5 * time.Millisecond
)

func newEventLoop(srv *Server, h MessageHandler) (*eventLoop, error) {
	loop := &eventLoop{server: srv, handler: h}
	loop.shared = sockets.Shared{Options: srv.sessionOwner().socketOptions(), ListenAddr: srv.listener.Addr}
	for range runtime.GOMAXPROCS(0) {
		p, err := newPoller(loop)
		if err != nil {
			loop.close()
			return nil, fmt.Errorf("libnet: event loop: %w", err)
		}
		loop.pollers = append(loop.pollers, p)
	}
	if !srv.addLoop(loop) {
		loop.close()
		return nil, ErrServerClosed
	}
	return loop, nil
}

// start has the pollers run, from the first connection on that can use them: where none comes, as in a test with conns in memory,
// nobody waits for the system.
func (loop *eventLoop) start() {
	for _, p := range loop.pollers {
		go p.run(0)
	}
}

// close ends the pollers. No session is open any more.
func (loop *eventLoop) close() {
	loop.closed.Store(true)
	for _, p := range loop.pollers {
		p.close()
	}
}

// prepare takes a TCP connection over from package net. One that it cannot take over (descriptors may be
// short) is served as it is, at a higher cost.
func (loop *eventLoop) prepare(conn net.Conn) net.Conn {
	if loop.server.TLSConfig == nil {
		return sockets.Detach(conn, &loop.shared)
	}
	return loop.server.secure(conn)
}

// add hands s over to a poller; false if it must have a goroutine.
func (loop *eventLoop) add(s *Session) bool {
	if s.sock == nil || s.parser == nil {
		return false
	}
	loop.started.Do(loop.start)
	s.serving.Store(servingFrom(s.conn))
	p := loop.pollers[loop.added.Add(1)%uint64(len(loop.pollers))]
	err := p.register(s)
	if err != nil {
		err = fmt.Errorf("libnet: event loop: %w", err)
	} else {
		// OnSession may have received, so that more came than it asked for, or sent, or a shutdown may wait for it.
		err = s.dispatch(loop.handler)
	}
	if err != nil {
		s.failServing(err)
	}
	if s.yieldAsked.Load() { // while OnSession was at work
		s.yieldNow()
	}
	if s.endServing() {
		p.serveAlone(s)
	}
	return true
}

// servingFrom is how a session begins to be served. A read of a Unix socket also stops where descriptors or credentials
// were passed, and no event tells of what lies behind them.
func servingFrom(conn net.Conn) servingState {
	if sockets.IsDetached(conn) {
		return eventMode | serving
	}
	return eventMode | serving | servingAll
}

// eager reports whether handlers are to get goroutines of their own.
func (loop *eventLoop) eager() bool {
	until := loop.eagerUntil.Load()
	return until != 0 && time.Now().UnixNano() < until
}

func (loop *eventLoop) beEager() { loop.eagerUntil.Store(time.Now().Add(eagerFor).UnixNano()) }

// startWatch makes sure that the watch runs while a poller works.
func (loop *eventLoop) startWatch() {
	if !loop.watching.Load() && loop.watching.CompareAndSwap(false, true) {
		go loop.watch()
	}
}

// watch gives the pollers whose handler blocks to another goroutine.
func (loop *eventLoop) watch() {
	seen := make([]uint64, len(loop.pollers))
	for idle := 0; idle < idleWatches; idle++ {
		time.Sleep(watchPeriod)
		if loop.closed.Load() { // a handler that still works holds nobody up; no other watch starts
			return
		}
		for i, p := range loop.pollers {
			progress := p.progress.Load()
			if progress%2 == 0 { // waits for events
				continue
			}
			idle = 0
			if progress == seen[i] {
				loop.handOver(p, progress)
			}
			seen[i] = progress
		}
	}
	loop.watching.Store(false)
	for _, p := range loop.pollers {
		if p.progress.Load()%2 == 1 { // began to work while the watch ended
			loop.startWatch()
			return
		}
	}
}

// handOver lets another goroutine go on with p's events.
func (loop *eventLoop) handOver(p *poller, seen uint64) {
	if !p.handOver(seen) {
		return
	}
	now := time.Now()
	if now.Sub(loop.handovers[0]) < soonHandovers {
		loop.beEager()
	}
	copy(loop.handovers[:], loop.handovers[1:])
	loop.handovers[manyHandovers-1] = now
}
