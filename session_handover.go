package libnet

import (
	"math"
	"net"
	"time"

	"github.com/libnet-go/libnet/internal/inside"
	"github.com/libnet-go/libnet/internal/moving"
	"github.com/libnet-go/libnet/internal/sendqueue"
	"github.com/libnet-go/libnet/internal/sockets"
	"github.com/libnet-go/libnet/internal/usercode"
)

// A session can be stopped between two messages, taken apart, and put together in another process: package handover
// does that. What it needs is registered here, and known to nobody else. All of it hangs on the request by which a
// Shutdown, too, has the receiver stop, so that a message pays nothing for it.

func init() {
	moving.The = moving.Root{
		Giver:    func(server any) moving.Giver { return giver{server.(*Server)} },
		Taker:    newTaker,
		Listener: sockets.Taken,
		LastID:   &lastSessionID,

		LeaveListener: sockets.LeaveListener,
	}
}

// A freezing is a request that a session's receiver stop between two messages, and a session's that is stopped.
type freezing struct {
	stopped  chan struct{} // closed by a receiver with a goroutine of its own, which then waits for over
	over     chan struct{}
	arriving bool // the session is being put together: what reads, reads nothing

	thawed bool // guarded by the session's mu: an event loop is to go on with what was left unread
}

func newFreezing() *freezing {
	return &freezing{stopped: make(chan struct{}), over: make(chan struct{})}
}

// freezing is the request, nil if there is none.
func (s *Session) freezing() *freezing {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.extras == nil {
		return nil
	}
	return s.extras.freezing
}

// isArriving reports whether the session is being put together. Nothing is received until it is this process's: who
// tried would end it.
func (s *Session) isArriving() bool {
	f := s.freezing()
	return f != nil && f.arriving && !s.IsClosed()
}

// freeze is the receiver's part. True says that the session has ended meanwhile. An event loop is stopped by who asks,
// and a session that is not admitted yet does not stop.
func (s *Session) freeze(f *freezing) (ended bool) {
	switch {
	case f.arriving:
		return true
	case s.serving.Started() || !s.isAdmitted():
		return false
	}
	s.beforePause()
	close(f.stopped)
	<-f.over
	s.q.ReceiverWorks()
	return !s.canReceive()
}

// awaitThaw waits until the session goes on, or is another process's, or has ended: meanwhile its input may be that
// one's.
func (s *Session) awaitThaw() {
	if f := s.freezing(); f != nil {
		select {
		case <-f.over:
		case <-s.doneChan():
		}
	}
}

// wasFrozen reports whether whoever serves a session in an event loop is to go on with what was left.
func (s *Session) wasFrozen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.extras == nil || s.extras.freezing == nil || !s.extras.freezing.thawed {
		return false
	}
	s.endFreezingLocked()
	return true
}

// endFreezingLocked leaves a Shutdown's request alone.
func (s *Session) endFreezingLocked() {
	s.extras.freezing = nil
	if s.extras.granted == nil {
		s.yieldAsked.Store(false)
	}
	if *s.extras == (extras{}) {
		s.extras = nil
	}
}

// A leaver is a session that is to move.
type leaver struct {
	s   *Session
	f   *freezing
	own bool // the receiver has stopped, and what is its is the caller's
}

var _ moving.Leaver = (*leaver)(nil)

func (l *leaver) ID() uint64   { return l.s.id }
func (l *leaver) Session() any { return l.s }

// Why a session stays.
const (
	staysBare      = "bare codec"
	staysTLS       = "tls"
	staysConn      = "connection"
	staysWebSocket = "websocket"
	staysCodec     = "codec"
	staysClosing   = "closing"
)

func (l *leaver) Stays() string {
	s := l.s
	switch {
	case s.conn == nil:
		return staysBare
	case s.sock == nil && s.secure() || s.sock != nil && s.sock.Layered():
		return staysTLS
	case s.owner.handler != nil, s.isWebSocket() && !s.hasMovingCodec(): // the first came through net/http
		return staysWebSocket
	case s.sock == nil || s.owner != s.owner.server.sessionOwner():
		return staysConn
	case s.hasCodec() && !s.framing().parses:
		return staysCodec
	case s.state.Load() != sessionOpen:
		return staysClosing
	}
	return ""
}

// hasMovingCodec reports whether the codec can say what it knows; it may still be in its handshake.
func (s *Session) hasMovingCodec() bool {
	_, handshakes := s.owner.protocol.(handshakeProtocol)
	if !s.hasCodec() {
		return handshakes
	}
	_, moves := s.codec.(movingCodec)
	return handshakes && moves
}

func (l *leaver) Stop() {
	s := l.s
	s.mu.Lock()
	if s.state.Load() != sessionOpen || s.yieldAsked.Load() {
		s.mu.Unlock()
		return
	}
	l.f = newFreezing()
	s.extrasLocked().freezing = l.f
	s.yieldAsked.Store(true)
	s.mu.Unlock()
	s.endPause()
	l.interrupt()
}

// interrupt has a receiver that waits look at the request.
func (l *leaver) interrupt() {
	if l.s.serving.Started() {
		l.s.serving.Hold()
		return
	}
	if l.s.q.Receiver() != sendqueue.ReceiverAbsent {
		l.s.interruptAsked()
	}
}

func (l *leaver) Stopped() bool {
	s := l.s
	switch {
	case l.f == nil || l.own:
		return l.own
	case s.state.Load() != sessionOpen: // whoever receives may not come back to stop; Record says so
		l.own = true
	case s.serving.Started():
		l.own = s.isAdmitted() && s.serving.Hold()
		if l.own {
			s.beforePause()
		}
	default:
		select {
		case <-l.f.stopped:
			l.own = true
		default:
			if s.q.Receiver() == sendqueue.ReceiverWaiting {
				l.interrupt() // it may have begun to wait since
			}
		}
	}
	return l.own
}

func (l *leaver) Wakes() bool {
	state := l.s.q.Receiver()
	return l.f != nil && l.s.isAdmitted() && (state == sendqueue.ReceiverWaiting || state == sendqueue.ReceiverPaused)
}

func (l *leaver) Held() bool {
	s := l.s
	switch {
	case s.q.Hold():
		_ = s.conn.SetWriteDeadline(time.Time{})
		return true
	case s.state.Load() != sessionOpen: // Record says so
		return true
	}
	_ = s.conn.SetWriteDeadline(longAgo) // who writes, and finds that it was not his own, goes on if he need not yield
	return false
}

// stays is the reason for which a session does, as an error.
type stays string

func (s stays) Error() string { return string(s) }

func (l *leaver) Record() (r moving.Record, err error) {
	s := l.s
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.state.Load() != sessionOpen:
		return r, stays(staysClosing)
	case !s.hasCodec() || !s.framing().parses:
		return r, stays(staysCodec)
	}
	r = moving.Record{
		ID: s.id, Name: s.extras.name, Received: s.received.Load(), FrameStart: s.frameStart.Load(),
		Parsed: s.parsed, Read: s.read.Load(), Dropped: s.extras.dropped, Unread: s.in.Unread(),
	}
	if c := s.clock; c != nil {
		r.Received = s.silentSince(c)
	}
	if c, ok := s.codec.(movingCodec); ok {
		if r.Codec, r.HasCodec = c.Moves(inside.Call{}); !r.HasCodec {
			return r, stays(staysWebSocket)
		}
	}
	return r, nil
}

func (l *leaver) Introduce() (i moving.Introduction, ok bool) {
	s := l.s
	if !s.hasCodec() { // which comes behind a proxy's header
		return i, false
	}
	i = moving.Introduction{ID: s.id, Age: s.now()}
	s.mu.Lock()
	if c := s.clock; c != nil && c.proxied != nil {
		i.Client = c.proxied.client
	}
	s.mu.Unlock()
	if tcp, ok := s.conn.RemoteAddr().(*net.TCPAddr); ok {
		i.Remote = tcp.AddrPort()
	} else {
		i.Unix = true
	}
	return i, true
}

func (l *leaver) Control(f func(fd uintptr)) error { return l.s.sock.Raw().Control(f) }

func (l *leaver) Seal() (sendqueue.Contents, bool) {
	if l.s.IsClosed() {
		return sendqueue.Contents{}, false
	}
	return l.s.q.Seal()
}

func (l *leaver) GoOn() {
	s := l.s
	if l.f == nil {
		return
	}
	if s.q.Unhold() { // before a handler may send again
		s.flushNow()
	}
	s.mu.Lock()
	if s.serving.Started() {
		l.f.thawed = true
	} else {
		s.endFreezingLocked()
	}
	if s.state.Load() == sessionOpen && !sockets.IsDetached(s.conn) {
		_ = s.conn.SetReadDeadline(time.Time{})
	}
	s.mu.Unlock()
	close(l.f.over)
	if s.serving.Started() {
		s.serving.Unhold()
		s.owner.server.serveAgain(s)
	}
}

// serveAgain has the event loop serve s, which was left unserved.
func (srv *Server) serveAgain(s *Session) {
	srv.mu.Lock()
	loops := srv.loops
	srv.mu.Unlock()
	if len(loops) > 0 {
		go loops[0].Serve((*eventSession)(s))
	}
}

func (l *leaver) Forget() {
	srv := l.s.owner.server
	srv.mu.Lock()
	loops := srv.loops
	srv.mu.Unlock()
	for _, loop := range loops {
		loop.Forget(l.s.sock.Raw())
	}
}

func (l *leaver) Leave() {
	s := l.s
	defer close(l.f.over)
	s.handed.set(s.parsed, s.read.Load()) // nothing is dropped
	s.in.Release()
	s.leave(ErrHandedOver)
}

// leave ends a session that another process has.
func (s *Session) leave(reason error) {
	s.mu.Lock()
	if s.state.Load() == sessionClosed {
		s.mu.Unlock()
		return
	}
	s.state.Store(sessionClosed)
	if e := s.extrasLocked(); e.ended == nil {
		e.ended = reason
	}
	s.codecKnownLocked()
	s.clock.stop()
	rest := &settling{session: s, codecMade: s.making == codecMade, left: true, aside: true, reason: s.extras.ended}
	s.mu.Unlock()
	s.q.Surrender()
	s.q.Close()
	if !rest.closesAtOnce() { // a codec of the user's keeps nobody but its session
		go rest.run()
		return
	}
	_ = rest.run()
}

// An arrival is a session that nobody serves yet.
type arrival struct{ s *Session }

func (a *arrival) ID() uint64   { return a.s.id }
func (a *arrival) Session() any { return a.s }

// arrive has a session that nobody knows wait for goOn.
func (s *Session) arrive(i *moving.Introduction) {
	s.extras = &extras{freezing: &freezing{arriving: true, over: make(chan struct{})}}
	s.yieldAsked.Store(true)
	s.q.Hold()
	if i.Client.IsValid() {
		s.watchLocked(math.MaxInt64)
		s.clock.proxied = &proxied{over: closedChan, client: i.Client}
		s.clock.proxied.begun.Store(true)
	}
}

// Restore enters what a record says.
func (a *arrival) Restore(r *moving.Record) error {
	s := a.s
	s.received.Store(r.Received)
	if s.owner.frameTimeout() > 0 {
		s.frameStart.Store(r.FrameStart)
	}
	if r.Name != "" || r.Dropped > 0 {
		s.mu.Lock()
		s.extrasLocked().name = usercode.Cut(r.Name, maxName)
		s.extrasLocked().dropped = r.Dropped
		s.mu.Unlock()
	}
	return a.makeCodec(r)
}

var errExchange = newError("libnet: a codec that begins with an exchange, or cannot parse, cannot come from another process")

// makeCodec has the protocol make the codec, which must neither read nor write: that was done when the connection was
// new.
func (a *arrival) makeCodec(r *moving.Record) error {
	s := a.s
	p, moves := s.owner.protocol.(movingProtocol)
	if moves != r.HasCodec {
		return errExchange
	}
	if moves {
		if mine, _ := s.beginCodec(); mine {
			s.makeCodecBy(func() (Codec, error) { return s.movedCodec(p, r.Codec) })
		}
	}
	if s.initCodec() && s.framing().parses && s.q.Counters().Bytes == 0 {
		s.parsed = r.Parsed
		s.read.Store(r.Read)
		for rest := r.Unread; len(rest) > 0; {
			n := copy(s.in.Space(s.usualRead), rest)
			s.in.Commit(n)
			rest = rest[n:]
		}
		s.handOver()
		s.q.NoteReceived(r.Parsed, r.Read)
		return nil
	}
	if err := s.Err(); err != nil {
		return err
	}
	return errExchange
}

func (s *Session) movedCodec(p movingProtocol, state []byte) (codec Codec, err error) {
	defer s.recoveredLocked("protocol", &err)
	return p.Moved(stream{s}, state, inside.Call{})
}

func (a *arrival) Discard() { a.s.leave(ErrHandedOver) }

func (a *arrival) Start(out *sendqueue.Contents) {
	s, srv := a.s, a.s.owner.server
	if !s.q.Restore(*out) {
		a.lose(out)
		return
	}
	srv.mu.Lock()
	stopped := srv.isStopped
	if !stopped {
		srv.adopted = append(srv.adopted, s)
	}
	srv.mu.Unlock()
	if stopped {
		s.goOn()
	}
}

// lose counts what was to be written by a session that has ended since it came, with what its old process has counted:
// the server's sums have the rest once Done tells so.
func (a *arrival) lose(out *sendqueue.Contents) {
	s := a.s
	closedWithin(s.doneChan(), flushEnd)
	lost := s.q.Lose(*out)
	s.owner.server.addEnded(SessionStats{
		MessagesOut: out.MessagesOut, BytesOut: out.BytesOut, Discarded: out.Discarded + lost,
	})
	if lost > 0 {
		s.owner.eventLog().discarded(s, lost)
	}
}

// goOn is for who is about to serve the session: from now on its peer's time runs.
func (s *Session) goOn() {
	s.startClock()
	s.mu.Lock()
	close(s.extras.freezing.over)
	s.endFreezingLocked()
	if start := s.frameStart.Load(); start != 0 {
		s.watchLocked(time.Duration(max(after(start, s.owner.frameTimeout())-s.now(), 0)))
	}
	if s.clock != nil {
		s.clock.awaited.And(^awaitOnSession) // which the other process has called
		if s.parsed > 0 {
			s.clock.awaited.Store(0)
		}
	}
	s.mu.Unlock()
	if s.q.Unhold() {
		s.flushNow()
	}
}
