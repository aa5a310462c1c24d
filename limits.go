package libnet

import (
	"net"
	"net/netip"
	"time"
)

// count enters a connection into the server's books, or says which limit it would break.
func (srv *Server) count(conn net.Conn) error {
	addr := srv.limitedAddr(conn)
	srv.mu.Lock()
	defer srv.mu.Unlock()
	switch {
	case srv.isStopped:
		return ErrServerClosed
	case srv.MaxSessions > 0 && srv.open >= srv.MaxSessions:
		srv.rejected++
		return ErrTooManySessions
	case srv.MaxSessionsPerIP > 0 && addr.IsValid() && srv.perIP[addr] >= srv.MaxSessionsPerIP:
		srv.rejected++
		return ErrTooManySessionsPerIP
	}
	srv.open++
	srv.peak = max(srv.peak, srv.open)
	srv.accepted++
	if srv.MaxSessionsPerIP > 0 && addr.IsValid() {
		if srv.perIP == nil {
			srv.perIP = make(map[netip.Addr]int)
		}
		srv.perIP[addr]++
	}
	return nil
}

// dropped takes a connection out of the books that never became a session.
func (srv *Server) dropped(conn net.Conn) {
	addr := srv.limitedAddr(conn)
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.accepted--
	srv.uncountLocked(addr)
}

func (srv *Server) uncountLocked(addr netip.Addr) {
	if srv.MaxSessionsPerIP > 0 && addr.IsValid() {
		if srv.perIP[addr]--; srv.perIP[addr] == 0 {
			delete(srv.perIP, addr)
		}
	}
	if srv.open--; srv.open == 0 && srv.none != nil {
		close(srv.none)
		srv.none = nil
	}
	srv.closeLoopsLocked()
}

// sessionEnded takes a session out of the books, after its close callbacks have run.
func (srv *Server) sessionEnded(s *Session, reason error) {
	stats := s.Stats()
	addr := srv.limitedAddr(s.conn)
	srv.log.sessionEnded(s, reason, stats)
	name := CloseReason(reason) // may call a method of the user's error
	closed := ClosedSession{ID: s.id, RemoteAddr: s.addrForRecord(), Err: reason, Closed: time.Now(), Stats: stats}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.closed[name]++
	srv.lastClosed.add(closed)
	srv.uncountLocked(addr)
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
