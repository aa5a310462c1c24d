package libnet

import (
	"context"
	"iter"
	"net"
	"slices"
	"syscall"
	"time"

	"github.com/libnet-go/libnet/internal/eventloop"
	"github.com/libnet-go/libnet/internal/moving"
	"github.com/libnet-go/libnet/internal/sendqueue"
	"github.com/libnet-go/libnet/internal/sockets"
	"github.com/libnet-go/libnet/internal/usercode"
)

// Stop closes the listener and all sessions, discarding what they have queued, and returns when their close callbacks
// have run, but after Config.Linger at the latest, or after a second where that is longer, and a second more for a
// listener that does not close: called from a callback or a handler it cannot wait for that one. To lose nothing, see
// [Server.Shutdown].
func (srv *Server) Stop() {
	srv.mustBeMade()
	defer srv.stopReturns()
	srv.stop(flushEnd)
	for s := range srv.manager.All() {
		go s.terminate(ErrServerClosed)
	}
	_ = srv.awaitNone(context.Background())
}

// Shutdown closes the listener and shuts all sessions down as [Session.Shutdown] does, all at once. A handler that is
// at work on a message may still send its reply, for at most Config.Linger or half the time that ctx leaves; with
// ServeArrived it also receives, for as long, what has arrived. It returns nil when everything was delivered and the
// close callbacks have run, or a [*ShutdownError] when ctx ended first: the sessions that were left were then cut off.
// Like Session.Shutdown it does not outlive ctx, but for 0.1 s more that a listener may take to be closed. Where ctx
// has no deadline it waits for close callbacks as [Server.Stop] does. Of several calls each waits. It does not wait for
// handlers to return, and may be called from one; from a close callback, too, for which it then waits itself.
func (srv *Server) Shutdown(ctx context.Context) error { return srv.Drain(ctx, 0) }

// Drain is [Server.Shutdown] that spreads the ends of the sessions evenly over a time, so that their clients do not all
// come back at once, to this server's successor or another: the lame-duck phase of a server. The listener is closed at
// once, and Stopping tells the load balancer so; each session is served as before until it is its turn, and is then
// shut down as Shutdown does. It takes less time where all sessions have ended before, and where ctx leaves less than
// over and Config.Linger. With no time to spread over it is Shutdown.
func (srv *Server) Drain(ctx context.Context, over time.Duration) error {
	srv.mustBeMade()
	ctx = sendqueue.NewContext(ctx)
	defer srv.stopReturns()
	srv.stop(withinHalf(ctx, flushEnd))
	if deadline, ok := ctx.Deadline(); ok {
		over = min(over, time.Until(deadline)-srv.linger())
	}
	r := srv.manager.shutdown(srv.paced(ctx, over), func(s *Session) shutdownResult {
		return s.shutdownServed(ctx, ErrServerClosed, withinHalf(ctx, srv.linger()))
	})
	r.running = srv.awaitNone(ctx)
	return r.asError(ctx)
}

// paced yields the open sessions, evenly within a time.
func (srv *Server) paced(ctx context.Context, over time.Duration) iter.Seq[*Session] {
	sessions := srv.manager.All()
	if over <= 0 {
		return sessions
	}
	return func(yield func(*Session) bool) {
		all, began := slices.Collect(sessions), time.Now()
		for i, s := range all {
			due := began.Add(time.Duration(float64(over) * float64(i) / float64(len(all))))
			srv.awaitEmptyUntil(ctx, due)
			if !s.isGone() && !yield(s) {
				return
			}
		}
	}
}

// awaitEmptyUntil waits until then, unless ctx ends or no session is open any more.
func (srv *Server) awaitEmptyUntil(ctx context.Context, then time.Time) {
	if time.Until(then) <= 0 || ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithDeadline(ctx, then)
	defer cancel()
	srv.awaitEmpty(ctx)
}

// withinHalf returns d, or half the time that ctx leaves, where that is less.
func withinHalf(ctx context.Context, d time.Duration) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		d = min(d, time.Until(deadline)/2)
	}
	return d
}

// addLoop has loop, of h, closed when no session can need it any more; false if that is so already.
func (srv *Server) addLoop(loop *eventloop.Loop, h MessageHandler) bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.isStopped {
		return false
	}
	srv.loops = append(srv.loops, loop)
	if h != MessageHandler(ownersHandler{}) {
		srv.messages++
	}
	return true
}

// idleLoopsLocked returns the event loops once nothing is left for them to do: closing them takes system calls.
func (srv *Server) idleLoopsLocked() (idle []*eventloop.Loop) {
	if srv.isStopped && srv.emptyLocked() {
		idle, srv.loops = srv.loops, nil
	}
	return idle
}

func closeLoops(loops []*eventloop.Loop) {
	for _, loop := range loops {
		loop.Close()
	}
}

// stop ends accepting. Accept, Serve and NewSession answer so from now on. It waits for the listener for so long at
// most.
func (srv *Server) stop(patience time.Duration) {
	srv.mu.Lock()
	first := !srv.isStopped
	srv.isStopped = true
	idle := srv.idleLoopsLocked()
	adopted := srv.adopted
	srv.adopted = nil
	srv.mu.Unlock()
	closeLoops(idle)
	for _, s := range adopted { // nobody comes to serve them: what they have to write is delivered all the same
		s.goOn()
	}
	if first {
		close(srv.stopping)
		srv.closeListener(patience)
	}
	srv.manager.dispose()
}

func (srv *Server) stopped() bool { return isClosed(srv.stopping) }

// awaitNone waits until no session is open and all close callbacks have run, or until ctx ends: then it returns of how
// many sessions user code is at work. Without a deadline Linger is the bound: called from a callback it waits for
// itself.
func (srv *Server) awaitNone(ctx context.Context) (running int) {
	bounded := ctx
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		bounded, cancel = context.WithTimeout(ctx, max(srv.linger(), flushEnd))
		defer cancel()
	}
	if srv.awaitEmpty(bounded) || ctx.Err() == nil {
		return 0
	}
	return int(srv.running.Load())
}

func (srv *Server) awaitEmpty(ctx context.Context) (empty bool) {
	srv.mu.Lock()
	if srv.emptyLocked() {
		srv.mu.Unlock()
		return true
	}
	if srv.none == nil {
		srv.none = make(chan struct{})
	}
	none := srv.none
	srv.mu.Unlock()
	select {
	case <-none:
		return true
	case <-ctx.Done():
		return false
	}
}

// awaitStop waits for the Stop or Shutdown that is under way, if one is.
func (srv *Server) awaitStop() {
	if srv.stopped() {
		<-srv.stopDone
	}
}

// stopReturns is deferred by Stop and Shutdown.
func (srv *Server) stopReturns() { srv.stopOnce.Do(func() { close(srv.stopDone) }) }

// A giver is a server whose sessions are given to another process.
type giver struct{ *Server }

var _ moving.Giver = giver{}

var (
	errGiving   = newError("libnet: the server is being handed over")
	errListener = newError("libnet: a listener that package net and libnet.Serve have not made cannot be handed over")
	errHandlers = newError("libnet: a server with several ServeMessages cannot be handed over")
)

// noticePatience is how long who pauses a listener waits for the one who accepts, if there is one.
const noticePatience = 50 * time.Millisecond

func (g giver) Pause() error {
	srv := g.Server
	srv.mustTakeSessions()
	l, ok := srv.listener.(deadliner)
	if !ok {
		return errListener
	}
	p := &acceptPause{noticed: make(chan struct{}, 1), over: make(chan struct{})}
	if err := srv.beginPause(p); err != nil {
		return err
	}
	setDeadline(l, longAgo)
	select {
	case <-p.noticed: // what it accepted before is known by now
	case <-time.After(noticePatience):
	case <-srv.stopping:
	}
	return nil
}

// A deadliner is a listener of a socket. It may be the user's, who has wrapped one.
type deadliner interface {
	net.Listener
	syscall.Conn
	SetDeadline(time.Time) error
}

func setDeadline(l deadliner, at time.Time) {
	usercode.Answer(func() error { return l.SetDeadline(at) })
}

func (srv *Server) beginPause(p *acceptPause) error {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	switch {
	case srv.isStopped:
		return ErrServerClosed
	case srv.paused != nil:
		return errGiving
	case srv.messages > 1:
		return errHandlers
	}
	srv.paused = p
	return nil
}

func (g giver) Resume() {
	setDeadline(g.listener.(deadliner), time.Time{})
	g.mu.Lock()
	p := g.paused
	g.paused = nil
	g.mu.Unlock()
	close(p.over)
}

func (g giver) Listener() (raw syscall.RawConn, unlinks bool) {
	l, ok := g.listener.(deadliner)
	if !ok {
		return nil, false
	}
	raw, _ = usercode.Answer(func() syscall.RawConn {
		raw, _ := l.SyscallConn()
		return raw
	})
	u, ok := g.listener.(*sockets.UnixListener)
	return raw, ok && u.Ours()
}

func (g giver) Sessions() (all []moving.Leaver) {
	for s := range g.manager.All() {
		all = append(all, &leaver{s: s})
	}
	return all
}

func (g giver) Left() {
	if u, ok := g.listener.(*sockets.UnixListener); ok {
		u.Leave()
	}
}

func (g giver) Stopped() <-chan struct{} { return g.stopping }

// A taker is a server which sessions come to.
type taker struct {
	srv        *Server
	listenAddr func() net.Addr // the listener's, kept: a method value is an allocation
}

func newTaker(server any) moving.Taker {
	srv := server.(*Server)
	srv.mustTakeSessions()
	return taker{srv, srv.listener.Addr}
}

// Adopt makes a session that reads and writes nothing yet.
func (t taker) Adopt(i *moving.Introduction, fd int) (moving.Arrival, error) {
	srv := t.srv
	srv.mustTakeSessions()
	conn, err := sockets.Adopt(fd, i.Remote, t.listenAddr)
	if err != nil {
		return nil, err
	}
	s := newNumberedSession(srv.sessionOwner(), conn, i.ID)
	s.opened = time.Now().Add(-time.Duration(i.Age))
	s.arrive(i)
	if err := srv.adopt(s, i); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &arrival{s}, nil
}

// adopt counts a session, whatever the limits are: it was let in before.
func (srv *Server) adopt(s *Session, i *moving.Introduction) error {
	var p place
	if i.Client.IsValid() {
		p.addr = srv.limitedIP(i.Client.Addr())
	} else {
		p.addr = srv.limitedAddr(s.conn)
	}
	srv.mu.Lock()
	err := srv.mayAdoptLocked()
	if err == nil {
		srv.entering++
		if p.addr.IsValid() {
			srv.takeAddrLocked(p.addr)
		}
	}
	srv.mu.Unlock()
	if err != nil {
		return err
	}
	srv.entered(&p, s)
	if !srv.manager.add(s) {
		s.leave(ErrServerClosed)
		return ErrServerClosed
	}
	return nil
}

var errServing = newError("libnet: a server takes sessions over before it accepts any")

func (srv *Server) mayAdoptLocked() error {
	switch {
	case srv.isStopped:
		return ErrServerClosed
	case srv.accepting:
		return errServing
	}
	return nil
}

// nextAdopted returns a session that has arrived and nobody serves yet, nil if there is none.
func (srv *Server) nextAdopted() *Session {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.accepting = true
	if len(srv.adopted) == 0 {
		srv.adopted = nil
		return nil
	}
	s := srv.adopted[0]
	srv.adopted[0] = nil
	srv.adopted = srv.adopted[1:]
	return s
}
