package libnet

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/libnet-go/libnet/internal/eventloop"
	"github.com/libnet-go/libnet/internal/usercode"
)

// admitPatience is how long the accept loop waits for the methods of a user's conn, so that sessions are admitted in
// the order of their connections.
const admitPatience = time.Millisecond

// admitAndStart admits a conn of package net at once. One of the user's is admitted on a goroutine of its own, which
// its methods may keep or end: one that learns its address from the peer (the PROXY protocol) holds nobody up.
func (srv *Server) admitAndStart(conn net.Conn, prepare preparing, start func(*Session)) error {
	admit := func() error {
		s, err := srv.admit(conn, prepare)
		if err == nil {
			start(s)
		}
		return err
	}
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		return admit()
	}
	admitted := make(chan error, 1)
	go func() {
		defer close(admitted)
		admitted <- admit()
	}()
	bound := time.NewTimer(admitPatience)
	defer bound.Stop()
	select {
	case err := <-admitted:
		return err
	case <-bound.C:
		return nil
	}
}

// admitWithin is admit for Accept, which has nobody else to go on with the next connection: it refuses a conn of the
// user's whose methods end their goroutine, or take longer than usercode.Patience.
func (srv *Server) admitWithin(conn net.Conn) (*Session, error) {
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		return srv.admit(conn, srv.secure)
	}
	type result struct {
		s   *Session
		err error
	}
	admitted := make(chan result, 1)
	go func() {
		defer close(admitted)
		s, err := srv.admit(conn, srv.secure)
		admitted <- result{s, err}
	}()
	bound := time.NewTimer(usercode.Patience)
	defer bound.Stop()
	select {
	case r, ok := <-admitted:
		if !ok {
			r.err = &refusal{errNoAnswer}
		}
		return r.s, r.err
	case <-bound.C:
	}
	go func() {
		if r := <-admitted; r.s != nil {
			r.s.terminate(errNoAnswer)
		}
	}()
	return nil, &refusal{errNoAnswer}
}

// errNoAnswer is what a connection is refused for whose methods do not return.
var errNoAnswer = newError("libnet: a method of the connection does not return")

// A preparing returns the conn to go on with, of one that was accepted. It may not wait. Of a peer that is a proxy
// something is to be read before.
type preparing func(conn net.Conn, proxied bool) net.Conn

// admit makes and registers a session of what prepare returns, or closes conn. Without prepare conn came from
// elsewhere.
func (srv *Server) admit(conn net.Conn, prepare preparing) (*Session, error) {
	s, err := srv.enter(conn, prepare)
	if err != nil {
		return nil, err
	}
	if !srv.manager.add(s) {
		s.terminate(ErrServerClosed)
		return nil, ErrServerClosed
	}
	s.startClock()
	return s, nil
}

// enter makes a session and counts it, or closes conn, also where the conn's methods, which may be the user's, panic
// or end the goroutine.
func (srv *Server) enter(conn net.Conn, prepare preparing) (s *Session, err error) {
	var p place
	defer func() {
		if r := recover(); r != nil {
			s, err = nil, &refusal{srv.panicked("connection", r)}
		}
		if s == nil {
			srv.giveBack(&p)
			srv.turnAway(conn, p.proxied, err)
		}
	}()
	if prepare != nil {
		p.proxied = srv.ProxyProtocol.isOn() && srv.ProxyProtocol.trusts(conn.RemoteAddr())
		conn = prepare(conn, p.proxied)
	}
	if !p.proxied {
		p.addr = srv.limitedAddr(conn)
	}
	if err := srv.take(&p); err != nil {
		return nil, err
	}
	made, err := srv.newSession(conn)
	if err != nil {
		srv.log.refused(srv.logger(), err)
		return nil, &refusal{err}
	}
	srv.entered(&p, made)
	if p.proxied {
		made.expectProxyHeader(srv.ProxyProtocol.timeout())
	}
	return made, nil
}

func (srv *Server) newSession(conn net.Conn) (*Session, error) {
	o, err := srv.ownerFor(conn)
	if err != nil {
		return nil, err
	}
	e, upgraded := conn.(*entrant)
	if upgraded {
		conn = e.conn()
	}
	if err := setSocketOptions(conn, &o.Config); err != nil {
		return nil, err
	}
	s := newSession(o, conn)
	if upgraded {
		s.making = codecMaking
	}
	return s, nil
}

// runOnSession asks OnSession, which may end the goroutine.
func (srv *Server) runOnSession(s *Session) (err error) {
	if srv.OnSession == nil {
		return nil
	}
	admitted, reason := false, ErrSessionClosed
	s.setAdmitting(true)
	defer func() {
		s.setAdmitting(false)
		if !admitted {
			srv.mu.Lock()
			srv.rejected++
			srv.mu.Unlock()
			s.refuse(reason)
		}
	}()
	if err = srv.callOnSession(s); err != nil {
		reason = err
		return &refusal{err}
	}
	admitted = true
	s.admitted(awaitOnSession)
	return nil
}

func (s *Session) setAdmitting(is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.marks &^= markAdmitting; is {
		s.marks |= markAdmitting
	}
}

func (s *Session) isAdmitted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.marks&markAdmitting == 0
}

func (srv *Server) callOnSession(s *Session) (err error) {
	defer s.recovered("OnSession", &err)
	return srv.OnSession(s)
}

// refuse ends a session that was not admitted. An answer that OnSession has sent is delivered first, without
// keeping the caller; WriteTimeout and Linger bound that.
func (s *Session) refuse(reason error) {
	if s.q.Idle() == nil && s.Stats().MessagesOut == 0 {
		s.terminate(reason)
		return
	}
	if s.beginClosing(reason) {
		s.deliverInBackground(reason)
	}
}

// A refusal is an error that concerns one connection and not the server.
type refusal struct{ error }

func (r *refusal) Unwrap() error { return r.error }

// isRefusal is asked about errors of admit and runOnSession, which are not the user's.
func isRefusal(err error) bool {
	_, ok := err.(*refusal)
	return ok || err == ErrTooManySessions || err == ErrTooManySessionsPerIP
}

// ownerFor is sessionOwner, but for a connection that has a framing of its own.
func (srv *Server) ownerFor(conn net.Conn) (*owner, error) {
	if e, ok := conn.(*entrant); ok {
		return e.owner, nil
	}
	o := srv.sessionOwner()
	m, ok := conn.(MessageConn)
	if !ok {
		return o, nil
	}
	protocol := m.WrapProtocol(srv.protocol)
	if isNil(protocol) {
		return nil, errors.New("libnet: the connection made no protocol")
	}
	return newOwner(o.Config, protocol, srv, &srv.flusher), nil
}

// A place is what the server's counters hold of a connection until it has become a session.
type place struct {
	addr    netip.Addr // what MaxSessionsPerIP counts it by; invalid without that limit, and of a proxy
	proxied bool       // the peer is a proxy
	taken   bool       // it counts against the limits
	known   bool       // that it was refused has been counted
}

// take counts a connection, or says which limit it would break.
func (srv *Server) take(p *place) error {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	p.known = true
	switch {
	case srv.isStopped:
		return ErrServerClosed
	case srv.MaxSessions > 0 && srv.open+srv.entering >= srv.MaxSessions:
		srv.rejected++
		return ErrTooManySessions
	case p.addr.IsValid() && srv.perIP[p.addr] >= srv.MaxSessionsPerIP:
		srv.rejected++
		return ErrTooManySessionsPerIP
	}
	srv.entering++
	if p.addr.IsValid() {
		srv.takeAddrLocked(p.addr)
	}
	p.taken, p.known = true, false
	return nil
}

func (srv *Server) takeAddrLocked(addr netip.Addr) {
	if srv.perIP == nil {
		srv.perIP, srv.addrs = make(map[netip.Addr]int), make(map[uint64]netip.Addr)
	}
	srv.perIP[addr]++
}

// takeClient counts a session by the address that its proxy has told, or says that this is one too many.
func (srv *Server) takeClient(s *Session, client netip.Addr) error {
	addr := srv.limitedIP(client)
	if !addr.IsValid() {
		return nil
	}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	switch {
	case s.state.Load() == sessionClosed: // nobody might count it out
		return nil
	case srv.perIP[addr] >= srv.MaxSessionsPerIP:
		srv.rejected++
		return ErrTooManySessionsPerIP
	}
	srv.takeAddrLocked(addr)
	srv.addrs[s.id] = addr
	return nil
}

// giveBack unregisters a connection that does not become a session.
func (srv *Server) giveBack(p *place) {
	srv.mu.Lock()
	if !p.known {
		srv.rejected++
	}
	var idle []*eventloop.Loop
	if p.taken {
		srv.entering--
		idle = srv.leftLocked(p.addr)
	}
	srv.mu.Unlock()
	closeLoops(idle)
}

// entered counts a session. Its address is kept: the conn may have another, or none, when it ends.
func (srv *Server) entered(p *place, s *Session) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.entering--
	srv.open++
	srv.peak = max(srv.peak, srv.open)
	srv.accepted++
	if p.addr.IsValid() {
		srv.addrs[s.id] = p.addr
	}
}

// leftLocked is for one less that was open or entering. It returns the event loops that are to be closed now.
func (srv *Server) leftLocked(addr netip.Addr) []*eventloop.Loop {
	if addr.IsValid() {
		if srv.perIP[addr]--; srv.perIP[addr] == 0 {
			delete(srv.perIP, addr)
		}
	}
	if srv.emptyLocked() && srv.none != nil {
		close(srv.none)
		srv.none = nil
	}
	return srv.idleLoopsLocked()
}

func (srv *Server) emptyLocked() bool { return srv.open+srv.entering == 0 }

// sessionEnded unregisters a session, after its close callbacks have run, and whatever the user's conn,
// logger and error do meanwhile to this goroutine.
func (srv *Server) sessionEnded(s *Session, reason error) {
	closed := ClosedSession{ID: s.id, Name: s.Name(), Err: reason, Stats: s.Stats()}
	name := CloseReason(reason)
	defer func() { srv.addClosed(name, closed) }()
	closed.RemoteAddr = s.addrForRecord()
	srv.log.sessionEnded(s, reason, name, closed.Stats)
}

func (srv *Server) addClosed(name string, closed ClosedSession) {
	closed.Closed = time.Now()
	srv.mu.Lock()
	srv.closed[name]++
	srv.lastClosed.add(closed)
	addr := srv.addrs[closed.ID]
	delete(srv.addrs, closed.ID)
	srv.open--
	idle := srv.leftLocked(addr)
	srv.mu.Unlock()
	closeLoops(idle)
}

func (srv *Server) addEnded(stats SessionStats) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.ended.add(stats)
}

// limitedAddr is what MaxSessionsPerIP counts by: the address, or the /64 network that one IPv6
// subscriber has to choose addresses from (RFC 6177). It is invalid for what is not IP. Without a limit
// nobody asks the conn: one that learns its address from the peer (the PROXY protocol) may wait.
func (srv *Server) limitedAddr(conn net.Conn) netip.Addr {
	if srv.MaxSessionsPerIP <= 0 {
		return netip.Addr{}
	}
	return srv.limitedIP(ipOf(conn.RemoteAddr()))
}

// limitedIP is limitedAddr of an address that is known.
func (srv *Server) limitedIP(addr netip.Addr) netip.Addr {
	switch {
	case srv.MaxSessionsPerIP <= 0:
		return netip.Addr{}
	case !addr.Is6():
		return addr
	}
	network, err := addr.Prefix(64)
	if err != nil {
		return addr
	}
	return network.Addr()
}
