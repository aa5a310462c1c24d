package libnet

import (
	"io"
	"slices"
	"time"

	"github.com/libnet-go/libnet/internal/inside"
	"github.com/libnet-go/libnet/internal/sendqueue"
	"github.com/libnet-go/libnet/internal/sockets"
)

// A settling is the rest of an end. It follows the closing of the transport, or does not wait for it for longer than
// flushEnd.
type settling struct {
	session        *Session
	codecMade, cut bool
	left           bool          // another process has the connection: the peer is told nothing
	closed         chan struct{} // closed when the transport is; nil where it was closed at once
	reason         error
	aside          bool
}

// errCloseWaits is what Close returns when a connection's or codec's Close does not.
var errCloseWaits = newError("libnet: closing the connection takes its time")

func (r *settling) run() error {
	var err error
	if r.closesAtOnce() {
		err = r.closeTransport()
	} else {
		err = r.closeApart()
	}
	r.session.settle(r)
	return err
}

// closesAtOnce reports whether closing the transport is a system call that does not wait, and calls nothing of the
// user's.
func (r *settling) closesAtOnce() bool {
	s := r.session
	if s.sock == nil || s.sock.CloseWaits() {
		return false
	}
	if !r.codecMade || !s.hasCodec() {
		return true
	}
	c, ok := s.codec.(streamCodec)
	return ok && c.OnlyCloses(inside.Call{}) == io.ReadWriter(stream{s})
}

// What the Close of package codec's codecs closes, and nothing else: for a session's own stream, that is nothing to
// wait for.
type streamCodec interface {
	OnlyCloses(inside.Call) io.ReadWriter
}

// closeApart closes the transport on a goroutine of its own, which the user's conn or codec may end or keep.
func (r *settling) closeApart() error {
	r.closed = make(chan struct{})
	result := make(chan error, 1)
	go func() {
		var err error
		defer func() {
			close(r.closed)
			result <- err
		}()
		err = r.closeTransport()
	}()
	bound := time.NewTimer(flushEnd)
	defer bound.Stop()
	select {
	case err := <-result:
		return err
	case <-bound.C:
		return errCloseWaits
	}
}

func (r *settling) closeTransport() error {
	s := r.session
	if s.conn == nil {
		return s.closeCodec()
	}
	if s.sock != nil && !s.sock.Layered() && !r.left {
		s.noteDropped(sockets.Unread(s.descriptor()))
	}
	if c, ok := s.conn.(readAheadConn); ok {
		s.noteDropped(c.DropUnread(inside.Call{}))
	}
	var err error
	if r.cut || r.left || !s.writeCloseFrame(r.reason) {
		err = s.closeConn(r.cut)
	}
	if r.codecMade && s.hasCodec() {
		_ = s.closeCodec() // its stream is closed already: only its own error could come
	}
	return err
}

// settle is what follows when no byte can be written any more. Whoever has waited for Done finds the session in no
// group.
func (s *Session) settle(rest *settling) {
	s.awaitFlush()
	s.noteLastReceived()
	s.leaveOwner()
	callbacks := s.closeDone(rest, s.leaveGroups())
	if rest.aside && len(callbacks) > 0 {
		go s.conclude(rest, callbacks)
		return
	}
	s.conclude(rest, callbacks)
}

// conclude is the last of an end. What the session ended for is in the log before the callbacks run, of which one may
// end the goroutine. The server counts the session for as long as its connection is open.
func (s *Session) conclude(rest *settling, callbacks []*callback) {
	defer func() {
		if rest.isClosed() {
			s.gone(rest.reason)
			return
		}
		go func() {
			<-rest.closed
			s.gone(rest.reason)
		}()
	}()
	s.logPanic(rest.reason)
	s.callEach(callbacks)
}

// isClosed reports whether the transport is.
func (r *settling) isClosed() bool {
	return r.closed == nil || isClosed(r.closed)
}

// gone has nobody count the session any more.
func (s *Session) gone(reason error) {
	srv := s.owner.server
	s.mu.Lock()
	was := s.running
	s.running = false
	s.mu.Unlock()
	if srv == nil {
		return
	}
	if was {
		srv.running.Add(-1)
	}
	srv.sessionEnded(s, reason)
}

// isRunning reports whether close callbacks of the user's, or a Close, have not returned.
func (s *Session) isRunning() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running
}

// leaveOwner leaves the manager, and the counters to the server: in this order, or Server.Stats could count a
// session twice.
func (s *Session) leaveOwner() {
	if m := s.owner.manager; m != nil {
		m.remove(s)
	}
	if srv := s.owner.server; srv != nil {
		srv.addEnded(s.Stats())
	}
}

func (s *Session) closeCodec() (err error) {
	defer s.recovered("codec", &err)
	return s.codec.Close()
}

// closeConn closes the conn without waiting for a peer that does not read.
func (s *Session) closeConn(cut bool) (err error) {
	defer s.recovered("connection", &err)
	below := sockets.Transport(s.conn)
	switch {
	case (sockets.IsTLS(s.conn) || s.sock != nil && s.sock.Layered()) && cut:
		return below.Close()
	case s.sock != nil || !s.secure():
		return s.conn.Close()
	}
	// On a goroutine of its own: crypto/tls may hold the lock that this needs while it calls a conn of the user's that
	// closes the session.
	var closeErr error
	closed := within(2*closeNotifyTimeout, func() {
		defer s.recovered("connection", &closeErr)
		closeErr = s.conn.Close()
	})
	if !closed {
		return below.Close()
	}
	return closeErr
}

// awaitFlush waits for a flush that is still in the transport, so that the counters are final.
func (s *Session) awaitFlush() {
	if idle := s.q.Idle(); idle != nil && !closedWithin(idle, flushEnd) {
		s.q.Abandon()
	}
}

// callback is what to do when the session has closed, in the list of those.
type callback struct {
	do inside.End

	// Guarded by Session.mu.
	older, newer *callback
}

type (
	userEnd   func() // a function of the user's
	moduleEnd func() // of this module's, as one that removes the session from a group: these run before Done is closed
)

func (f userEnd) Ended()   { f() }
func (f moduleEnd) Ended() { f() }

// isKept reports whether another package of this module looks for it: it stays the newest.
func (c *callback) isKept() bool {
	switch c.do.(type) {
	case userEnd, moduleEnd:
		return false
	}
	return true
}

// OnClose has f called once when the session has closed, after it left its manager and groups, with
// no lock held, in the goroutine that closes; on a closed session at once, in the caller's. Callbacks
// run in the order they were registered; one that panics, or ends its goroutine, is logged and does not keep the
// others from running. The session's handler may still be at work: guard what both use. stop takes f back and
// reports whether it did: false says that f has been, or is being, run. It takes the same time however many there are.
func (s *Session) OnClose(f func()) (stop func() bool) {
	if f == nil {
		panic("libnet: OnClose with a nil function")
	}
	c := &callback{do: userEnd(f)}
	if !s.register(c) {
		s.call(c)
	}
	return func() bool { return s.forget(c) }
}

func init() {
	inside.OnEnd = func(session any, f func()) (stop func() bool) {
		s, c := session.(*Session), &callback{do: moduleEnd(f)}
		if !s.register(c) {
			f()
		}
		return func() bool { return s.forget(c) }
	}
	inside.Keep = func(session any, e inside.End) {
		if !session.(*Session).register(&callback{do: e}) {
			e.Ended()
		}
	}
	inside.Kept = func(session any) inside.End { return session.(*Session).kept() }
	inside.Put = func(session any, payload []byte) (sendqueue.By, bool) {
		return session.(*Session).putMarshalled(payload)
	}
	inside.Flush = func(session any, by sendqueue.By) { session.(*Session).flushBy(by) }
}

// register puts c into the callbacks, as the newest that may be; false if they have been taken to be run.
func (s *Session) register(c *callback) bool {
	s.mustBeMade()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	if first := s.callbacks; first != nil && first.isKept() && !c.isKept() {
		c.newer, c.older, first.older = first, first.older, c
	} else {
		c.older, s.callbacks = first, c
	}
	if c.older != nil {
		c.older.newer = c
	}
	return true
}

// kept returns what another package keeps here, the newest; nil if there is nothing.
func (s *Session) kept() inside.End {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.callbacks; c != nil && c.isKept() {
		return c.do
	}
	return nil
}

// forget takes c out of the callbacks; false if it is in them no more.
func (s *Session) forget(c *callback) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case c.newer != nil:
		c.newer.older = c.older
	case s.callbacks == c:
		s.callbacks = c.older
	default:
		return false
	}
	if c.older != nil {
		c.older.newer = c.newer
	}
	c.older, c.newer = nil, nil
	return true
}

func (s *Session) call(c *callback) {
	var err error
	defer s.recovered("close callback", &err)
	c.do.Ended()
}

// leaveGroups returns the callbacks that are the user's. No group takes the session from now on.
func (s *Session) leaveGroups() (users []*callback) {
	s.mu.Lock()
	callbacks := s.takeCallbacksLocked()
	s.mu.Unlock()
	for _, c := range callbacks {
		if _, ok := c.do.(userEnd); ok {
			users = append(users, c)
		} else {
			c.do.Ended()
		}
	}
	return users
}

// callEach calls one behind the other. Where one ends the goroutine, the deferred function calls those behind it
// before the goroutine is gone.
func (s *Session) callEach(callbacks []*callback) {
	defer func() {
		if len(callbacks) > 0 {
			s.callEach(callbacks)
		}
	}()
	for len(callbacks) > 0 {
		c := callbacks[0]
		callbacks = callbacks[1:]
		s.call(c)
	}
}

// takeCallbacksLocked returns the callbacks as they were registered.
func (s *Session) takeCallbacksLocked() (callbacks []*callback) {
	for c := s.callbacks; c != nil; c = s.callbacks {
		callbacks = append(callbacks, c)
		s.callbacks = c.older
		c.older, c.newer = nil, nil
	}
	slices.Reverse(callbacks)
	return callbacks
}
