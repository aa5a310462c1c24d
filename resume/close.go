package resume

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/usercode"
)

var errHandler = fmt.Errorf("%w in a handler", libnet.ErrPanic)

// Close ends the session at once, on both ends: the peer's ends with io.EOF. Messages that were not acknowledged may or
// may not arrive; Err counts them. It returns the session's error if that had ended before.
func (s *Session) Close() error {
	if !s.finish(libnet.ErrSessionClosed) {
		return s.Err()
	}
	return nil
}

// Shutdown takes no further messages, waits until the peer's application has taken all, over as many connections as
// that needs, and ends the session on both ends. Meanwhile messages still arrive. It returns nil, also where another
// end came first that lost nothing, or a [*libnet.ShutdownError] that says how many were not acknowledged when ctx or
// the session ended.
//
// In the session's handler for messages it would wait for itself, until ctx ends: acknowledgements come behind the
// message at work.
func (s *Session) Shutdown(ctx context.Context) error {
	ctx = usercode.Context(ctx, "Shutdown")
	s.drain()
	select {
	case <-s.Done():
	case <-ctx.Done():
		s.finish(libnet.ErrSessionClosed)
		if n := s.lost(); n > 0 {
			return &libnet.ShutdownError{Undelivered: n, Forced: 1, Err: ctx.Err()}
		}
	}
	if n := s.lost(); n > 0 {
		return &libnet.ShutdownError{Undelivered: n, Err: s.Err()}
	}
	return nil
}

// drain begins a Shutdown.
func (s *Session) drain() {
	s.mu.Lock()
	if s.phase == open {
		s.phase = draining
		s.changedLocked()
	}
	s.mu.Unlock()
	s.endIfDrained()
}

// lost is how many messages were not acknowledged in the end.
func (s *Session) lost() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.errLocked().Unacknowledged
}

// endIfDrained tells the peer that a Shutdown has all acknowledged. The peer's answer ends the session; where it gets
// lost, it is told again on the next connection.
func (s *Session) endIfDrained() {
	s.mu.Lock()
	conn, last, stuck := s.lastWordLocked()
	s.mu.Unlock()
	switch {
	case stuck:
		s.finish(libnet.ErrSessionClosed)
	case last != nil:
		go func() { _ = conn.SendContext(context.Background(), last) }() // until the connection ends, at the latest
	}
}

// lastWordLocked returns what a Shutdown is to tell the peer, if anything: that all is acknowledged, or before, that
// nothing more will be taken here. A Shutdown is stuck when that is so on both ends: each would wait for what the other
// does not take.
func (s *Session) lastWordLocked() (conn *libnet.Session, last any, stuck bool) {
	l, r := s.link, s.rare
	if s.phase != draining || l == nil || s.opening {
		return nil, nil, false
	}
	switch {
	case s.allAcknowledgedLocked():
		if s.told != kindEnd { // once a connection: a peer that does not read may go on acknowledging
			s.told = kindEnd
			return l.conn, ending{s.noteAckLocked()}, false
		}
	case r != nil && r.takesNoMore && r.peerTakesNoMore:
		return nil, nil, true
	case r != nil && r.takesNoMore && s.told == 0:
		s.told = kindLastTaken
		return l.conn, lastTaken{s.noteAckLocked()}, false
	}
	return nil, nil, false
}

// finish ends the session; false if it had ended.
func (s *Session) finish(reason error) bool {
	s.mu.Lock()
	if s.phase >= ended {
		s.mu.Unlock()
		return false
	}
	s.rareLocked().err = &Error{Unacknowledged: s.acceptedLocked() - s.peerAcked, Err: reason}
	s.phase, s.held = ended, 0
	var conn *libnet.Session
	if s.link != nil {
		conn = s.link.conn
	}
	s.leaveLocked()
	last := ending{s.takenLocked()}
	s.unacknowledged = queue{} // a message may be in flight: no block goes back to the pool
	s.state.Store(int32(Closed))
	s.stopWindowLocked()
	s.changedLocked()
	s.rare.inbox = queue{}
	leaves := s.rare.takeLeaves()
	s.rare.arrived.Broadcast()
	s.mu.Unlock()
	for _, leave := range leaves {
		leave()
	}
	s.common.end.closed(s, conn, last)
	if callbacks := s.closeDone(); len(callbacks) > 0 {
		go runAll(callbacks, loggerOf(conn))
	}
	return true
}

// closeDone returns the close callbacks, which are to run now.
func (s *Session) closeDone() (callbacks []func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase = gone
	if r := s.rare; r != nil {
		callbacks, r.onClose = r.onClose, nil
		if r.done != nil {
			close(r.done)
		}
	}
	return callbacks
}

func (r *rare) takeLeaves() (all []func()) {
	for e := r.leaves.Front(); e != nil; e = r.leaves.Front() {
		all = append(all, r.leaves.Remove(e).(func()))
	}
	return all
}

// runAll goes on behind a callback that panics, which is logged, or ends its goroutine.
func runAll(callbacks []func(), l *slog.Logger) {
	for i, f := range callbacks {
		returned := false
		func() {
			defer func() {
				if returned {
					return
				}
				v := recover()
				if v == nil {
					go runAll(callbacks[i+1:], l)
					return
				}
				value, stack := fmt.Sprintf("%.256q", usercode.Text(v)), string(debug.Stack())
				callbackLog.Write(func() {
					l.Error("libnet: resume: panic in a close callback", "value", value, "stack", stack)
				})
			}()
			f()
			returned = true
		}()
	}
}

// callbackLog is of all sessions: those without a connection have no logger of their own.
var callbackLog usercode.Log

func loggerOf(conn *libnet.Session) *slog.Logger {
	if conn == nil {
		return slog.Default()
	}
	return logger(conn)
}
