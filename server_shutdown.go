package libnet

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/libnet-go/libnet/internal/eventloop"
	"github.com/libnet-go/libnet/internal/sendqueue"
)

// Stop closes the listener and all sessions, discarding what they have queued, and returns when their
// close callbacks have run, but after Config.Linger at the latest, or after a second where that is longer, and a second more
// for a listener that does not close: called from a callback or a handler it cannot wait for that one. To lose nothing, see [Server.Shutdown].
func (srv *Server) Stop() {
	srv.mustBeMade()
	defer srv.stopReturns()
	srv.stop(flushEnd)
	for s := range srv.manager.All() {
		go s.terminate(ErrServerClosed)
	}
	_ = srv.awaitNone(context.Background())
}

// Shutdown closes the listener and shuts all sessions down as [Session.Shutdown] does, all at once. A
// handler that is at work on a message may still send its reply, for at most Config.Linger or half the
// time that ctx leaves; with ServeArrived it also receives, for as long, what has arrived. It returns nil when everything was
// delivered and the close callbacks have run, or a [*ShutdownError] when ctx ended first: the sessions that were
// left were then cut off. Like Session.Shutdown it does not outlive ctx, but for 0.1 s more
// that a listener may take to be closed. Where ctx has no deadline it waits for close callbacks
// as [Server.Stop] does. Of several calls each waits. It does not wait for handlers to return, and may be called from one; from a
// close callback, too, for which it then waits itself.
func (srv *Server) Shutdown(ctx context.Context) error { return srv.Drain(ctx, 0) }

// Drain is [Server.Shutdown] that spreads the ends of the sessions evenly over a time, so that their clients do not all come back at
// once, to this server's successor or another: the lame-duck phase of a server. The listener is closed at once, and Stopping tells the
// load balancer so; each session is served as before until it is its turn, and is then shut down as Shutdown does. It takes less time
// where all sessions have ended before, and where ctx leaves less than over and Config.Linger. With no time to spread over it is
// Shutdown.
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

// addLoop has loop closed when no session can need it any more; false if that is so already.
func (srv *Server) addLoop(loop *eventloop.Loop) bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.isStopped {
		return false
	}
	srv.loops = append(srv.loops, loop)
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

// stop ends accepting. Accept, Serve and NewSession answer so from now on. It waits for the listener for so long at most.
func (srv *Server) stop(patience time.Duration) {
	srv.mu.Lock()
	first := !srv.isStopped
	srv.isStopped = true
	idle := srv.idleLoopsLocked()
	srv.mu.Unlock()
	closeLoops(idle)
	if first {
		close(srv.stopping)
		srv.closeListener(patience)
	}
	srv.manager.dispose()
}

func (srv *Server) stopped() bool {
	select {
	case <-srv.stopping:
		return true
	default:
		return false
	}
}

// awaitNone waits until no session is open and all close callbacks have run, or until ctx ends: then it returns of how many
// sessions user code is at work. Without a deadline Linger is the bound: called from a callback it waits for itself.
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
