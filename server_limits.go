package libnet

import (
	"net"
	"net/netip"
	"time"

	"github.com/libnet-go/libnet/internal/eventloop"
)

// A place is a connection's in the server's books until it has become a session.
type place struct {
	addr  netip.Addr // what MaxSessionsPerIP counts it by; invalid without that limit
	taken bool       // it counts against the limits
	known bool       // that it was refused has been counted
}

// take enters a connection into the server's books, or says which limit it would break.
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
		if srv.perIP == nil {
			srv.perIP, srv.addrs = make(map[netip.Addr]int), make(map[uint64]netip.Addr)
		}
		srv.perIP[p.addr]++
	}
	p.taken, p.known = true, false
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
	closed := ClosedSession{ID: s.id, Err: reason, Stats: s.Stats()}
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
	tcp, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	if !addr.Is6() {
		return addr
	}
	network, err := addr.Prefix(64)
	if err != nil {
		return addr
	}
	return network.Addr()
}
