package resume

import (
	"container/list"
	"math"
	"net"
	"net/netip"
	"time"

	"github.com/libnet-go/libnet"
)

const (
	defaultMaxKept      = 16 << 10
	defaultMaxKeptPerIP = 1 << 10
	defaultMaxKeptBytes = 64 << 20
)

// A keeper knows the sessions that have no connection, in the order in which they lost it: so they expire. Server.mu
// guards it.
type keeper struct {
	order  list.List // of *Session
	unused list.List // of those that never brought or acknowledged a message: they are evicted first
	byAddr map[netip.Addr]*list.List
	bytes  int
	timer  *time.Timer // set for the first of order; nil while there is none
}

// A place is a session's among those that are kept.
type place struct {
	until    time.Time
	addr     netip.Addr
	inOrder  *list.Element
	inUnused *list.Element // or nil
	ofAddr   *list.Element
	bytes    int
}

func (k *keeper) add(s *Session, p *place, unused bool) {
	if k.byAddr == nil {
		k.byAddr = make(map[netip.Addr]*list.List)
	}
	if k.byAddr[p.addr] == nil {
		k.byAddr[p.addr] = list.New()
	}
	s.toKnow().place = p
	p.inOrder, p.ofAddr = k.order.PushBack(s), k.byAddr[p.addr].PushBack(s)
	if unused {
		p.inUnused = k.unused.PushBack(s)
	}
	k.bytes += p.bytes
}

func (k *keeper) remove(s *Session) {
	p := s.known().place
	if p == nil {
		return
	}
	s.ticket.place = nil
	k.order.Remove(p.inOrder)
	if p.inUnused != nil {
		k.unused.Remove(p.inUnused)
	}
	if same := k.byAddr[p.addr]; same.Len() == 1 {
		delete(k.byAddr, p.addr)
	} else {
		same.Remove(p.ofAddr)
	}
	k.bytes -= p.bytes
}

func first(l *list.List) *Session {
	if front := l.Front(); front != nil {
		return front.Value.(*Session)
	}
	return nil
}

// detached keeps a session that has lost its connection, and evicts others beyond the bounds.
func (srv *Server) detached(s *Session, was *libnet.Session) {
	p := &place{until: time.Now().Add(srv.window()), addr: network(was)}
	link, unused := s.holds(p)
	srv.mu.Lock()
	if s.newestLink() != link || s.known().place != nil || !srv.hasLocked(s) {
		srv.mu.Unlock()
		return // it goes on already, or has ended
	}
	srv.kept.add(s, p, unused)
	if srv.kept.timer == nil {
		srv.kept.timer = time.AfterFunc(srv.window(), srv.expire)
	}
	evicted := srv.evictLocked(p.addr)
	srv.mu.Unlock()
	finishAll(evicted, ErrEvicted)
}

// holds says in p what the session holds, and which was its last connection.
func (s *Session) holds(p *place) (link uint64, unused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.bytes = s.unacknowledged.held()
	if s.rare != nil {
		p.bytes += s.rare.inbox.held()
	}
	return s.links, s.takenLocked() == 0 && s.peerAcked == 0
}

// grown counts what a session was sent while it is kept.
func (srv *Server) grown(s *Session, bytes int) {
	srv.mu.Lock()
	var evicted []*Session
	if p := s.known().place; p != nil {
		p.bytes += bytes + messageCost
		srv.kept.bytes += bytes + messageCost
		evicted = srv.evictLocked(p.addr)
	}
	srv.mu.Unlock()
	finishAll(evicted, ErrEvicted)
}

// evictLocked takes out of the kept sessions those that are too many, or hold too much.
func (srv *Server) evictLocked(addr netip.Addr) (evicted []*Session) {
	k := &srv.kept
	evict := func(s *Session) {
		srv.forgetLocked(s)
		srv.stats.Evicted++
		evicted = append(evicted, s)
	}
	perIP := resolve(srv.MaxKeptPerIP, defaultMaxKeptPerIP, noBound)
	for same := k.byAddr[addr]; same != nil && same.Len() > perIP; {
		evict(first(same))
		same = k.byAddr[addr]
	}
	for k.order.Len() > resolve(srv.MaxKept, defaultMaxKept, noBound) ||
		k.order.Len() > 0 && k.bytes > resolve(srv.MaxKeptBytes, defaultMaxKeptBytes, math.MaxInt) {
		if unused := first(&k.unused); unused != nil {
			evict(unused)
		} else {
			evict(first(&k.order))
		}
	}
	return evicted
}

// expire ends those whose window is over.
func (srv *Server) expire() {
	var over []*Session
	srv.mu.Lock()
	k, now := &srv.kept, time.Now()
	s := first(&k.order)
	for ; s != nil && !s.ticket.place.until.After(now); s = first(&k.order) {
		srv.forgetLocked(s)
		srv.stats.Expired++
		over = append(over, s)
	}
	if s == nil {
		k.timer = nil
	} else {
		k.timer.Reset(s.ticket.place.until.Sub(now))
	}
	srv.mu.Unlock()
	finishAll(over, ErrWindow)
}

func finishAll(sessions []*Session, reason error) {
	for _, s := range sessions {
		s.finish(reason)
	}
}

// network is what MaxKeptPerIP counts by: the address, or the /64 network that one IPv6 subscriber has to choose
// addresses from (RFC 6177); invalid for what is not IP, or panics: a net.Conn may be the user's.
func network(conn *libnet.Session) (of netip.Addr) {
	defer func() { _ = recover() }()
	tcp, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	if prefix, err := ip.Prefix(64); ip.Is6() && err == nil {
		return prefix.Addr()
	}
	return ip
}
