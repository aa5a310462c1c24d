package libnet

import (
	"math"
	"net"
	"syscall"
	"time"

	"github.com/libnet-go/libnet/internal/moving"
	"github.com/libnet-go/libnet/internal/sendqueue"
	"github.com/libnet-go/libnet/internal/sockets"
)

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
	_ = l.SetDeadline(longAgo)
	select {
	case <-p.noticed: // what it accepted before is known by now
	case <-time.After(noticePatience):
	case <-srv.stopping:
	}
	return nil
}

// A deadliner is a listener of a socket.
type deadliner interface {
	net.Listener
	syscall.Conn
	SetDeadline(time.Time) error
}

func (srv *Server) beginPause(p *acceptPause) error {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	switch {
	case srv.isStopped:
		return ErrServerClosed
	case srv.paused != nil:
		return errGiving
	case len(srv.loops) > 1:
		return errHandlers
	}
	srv.paused = p
	return nil
}

func (g giver) Resume() {
	_ = g.listener.(deadliner).SetDeadline(time.Time{})
	g.mu.Lock()
	p := g.paused
	g.paused = nil
	g.mu.Unlock()
	close(p.over)
}

func (g giver) Listener() (raw syscall.RawConn, unlinks bool) {
	raw, _ = g.listener.(deadliner).SyscallConn()
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
type taker struct{ srv *Server }

// Adopt makes a session of a record.
func (t taker) Adopt(r *moving.Record, fd int) (moving.Arrival, error) {
	srv := t.srv
	srv.mustTakeSessions()
	conn, err := sockets.Adopt(fd, r.Remote, srv.listener.Addr)
	if err != nil {
		return nil, err
	}
	s := newSession(srv.sessionOwner(), conn)
	s.id, s.opened = r.ID, time.Now().Add(-time.Duration(r.Age))
	s.restore(r)
	if err := srv.adopt(s, r); err != nil {
		_ = conn.Close()
		return nil, err
	}
	a := &arrival{s}
	if err := a.makeCodec(r); err != nil {
		a.Discard()
		return nil, err
	}
	return a, nil
}

// restore enters what a record says, for a session that nobody knows.
func (s *Session) restore(r *moving.Record) {
	s.received.Store(r.Received)
	if s.owner.frameTimeout() > 0 {
		s.frameStart.Store(r.FrameStart)
	}
	s.extras = &extras{name: r.Name, dropped: r.Dropped, freezing: &freezing{arriving: true}}
	s.yieldAsked.Store(true)
	s.q.Hold()
	if r.Client.IsValid() {
		s.watchLocked(math.MaxInt64)
		s.clock.proxied = &proxied{over: closedChan, client: r.Client}
		s.clock.proxied.begun.Store(true)
	}
}

// adopt counts a session, whatever the limits are: it was let in before.
func (srv *Server) adopt(s *Session, r *moving.Record) error {
	var p place
	if r.Client.IsValid() {
		p.addr = srv.limitedIP(r.Client.Addr())
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

// An arrival is a session that nobody serves yet.
type arrival struct{ s *Session }

func (a *arrival) ID() uint64   { return a.s.id }
func (a *arrival) Session() any { return a.s }

var errExchange = newError("libnet: a codec that begins with an exchange, or cannot parse, cannot come from another process")

// makeCodec has the protocol make the codec, which must neither read nor write: that was done when the connection was new.
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
	if s.initCodec() && s.parser != nil && s.q.Counters().Bytes == 0 {
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
	return p.Moved(stream{s}, state)
}

func (a *arrival) Discard() { a.s.leave(ErrHandedOver) }

func (a *arrival) Start(out *sendqueue.Contents) {
	s, srv := a.s, a.s.owner.server
	s.q.Restore(*out)
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.adopted = append(srv.adopted, s)
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

// goOn is for who is about to serve the session: from now on its peer's time runs.
func (s *Session) goOn() {
	s.startClock()
	s.mu.Lock()
	s.endFreezingLocked()
	if start := s.frameStart.Load(); start != 0 {
		s.watchLocked(time.Duration(max(after(start, s.owner.frameTimeout())-s.now(), 0)))
	}
	if s.clock != nil && s.parsed > 0 {
		s.clock.awaited.Store(0)
	}
	s.mu.Unlock()
	if s.q.Unhold() {
		s.flushNow()
	}
}
