package resume

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/inside"
	"github.com/libnet-go/libnet/internal/lock"
	"github.com/libnet-go/libnet/internal/usercode"
)

// A Server keeps the sessions of clients whose connections come and go. It is the [libnet.Handler] and the
// [libnet.MessageHandler] of any number of libnet.Servers, over any transport, whose protocol's marshaler is [Frames],
// and outlives them: a session may go on over another of them. Set its fields before it is given a connection. All
// methods may be called by any goroutine.
//
// The connections' queue takes messages as long as it has room, and the session keeps the rest. Their Config.OnFull is
// best the default, RejectNewest: CloseSession ends a connection where it only has to wait, and one with DropOldest is
// refused, and ends with [ErrDropOldest], of which the log has one line. Without a queue (SendQueue 0) who sends on a
// session waits for the connection.
type Server struct {
	Config

	// Handler, if set, runs each session on a goroutine of its own, which receives by [Session.Receive]. When it
	// returns, the session is shut down, for [libnet.Config]'s default Linger at the most. A panic ends the session,
	// and the log of the libnet.Server has it; the process's other sessions go on.
	Handler func(*Session)

	// MessageHandler, if set, is given the messages, one at a time and in order, on the goroutine that receives from
	// the connection; with libnet.Server.ServeMessages a session then has no goroutine. A message is valid until it
	// returns. One of Handler and MessageHandler must be set.
	MessageHandler func(s *Session, msg []byte)

	// MaxKept, MaxKeptPerIP and MaxKeptBytes bound the sessions that have no connection, in all and of one address (one
	// /64 network of IPv6 addresses), and the messages that these hold, of which each counts for its length and 100
	// bytes. Beyond, the one that has been without a connection for longest, of that address or of all, ends with
	// [ErrEvicted]; of all, those go first that never brought or acknowledged a message. Default 16,384, 1,024 and 64
	// MiB; negative: no bound. What is not IP counts as one address, as do all clients behind a proxy that the
	// libnet.Server's ProxyProtocol does not know. Short messages lie in blocks of 6 KB, one each way at the least where
	// there are any: sessions that hold a message or two are bounded by MaxKept, at 100 to 200 MB by default.
	MaxKept, MaxKeptPerIP, MaxKeptBytes int

	toldDrops atomic.Bool
	log       usercode.Log

	mu lock.Mutex[serverLock]
	// mu guards the following.
	sessions map[uint64]*Session // by the keys of their tokens' hashes
	common   *common             // nil before the first
	kept     keeper
	closing  bool
	stats    ServerStats
}

// ServerStats is a snapshot of a server's counters.
type ServerStats struct {
	Open      int    // sessions, those without a connection included
	Kept      int    // sessions without a connection
	KeptBytes int    // what these hold, as it counts for MaxKeptBytes
	Resumed   uint64 // connections that went on with a session
	Refused   uint64 // hellos with a token that no session has: its window was over, or it was used before
	Expired   uint64 // sessions that ended with ErrWindow
	Evicted   uint64 // sessions that ended with ErrEvicted
}

// A ticket is what a server knows of a session that has lost a connection. Guarded by Server.mu.
type ticket struct {
	before *tokenHash // is valid until the client has acknowledged the welcome that brought the new one, and nil then
	tried  uint64     // the number of the hello that brought the newest connection
	place  *place     // among those that are kept; nil while there is a connection
}

// noTicket is that of sessions without one. Nobody writes to it.
var noTicket ticket

// known returns what is known of a session, to be read.
func (s *Session) known() *ticket {
	if s.ticket == nil {
		return &noTicket
	}
	return s.ticket
}

// toKnow returns the same, to be written.
func (s *Session) toKnow() *ticket {
	if s.ticket == nil {
		s.ticket = new(ticket)
	}
	return s.ticket
}

// newestLink is the number of the newest connection, from firstLink on.
func (s *Session) newestLink() uint64 { return s.known().tried + firstLink }

// find returns the session with this token, nil if there is none.
func (srv *Server) findLocked(hash tokenHash) *Session {
	s := srv.sessions[hash.key()]
	if s == nil || s.hash != hash && (s.known().before == nil || *s.ticket.before != hash) {
		return nil
	}
	return s
}

// Stats returns a snapshot.
func (srv *Server) Stats() ServerStats {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	stats := srv.stats
	stats.Kept, stats.KeptBytes = srv.kept.order.Len(), srv.kept.bytes
	return stats
}

// ServeSession serves a connection until it ends: it makes the Server a [libnet.Handler].
func (srv *Server) ServeSession(conn *libnet.Session) {
	var l *link
	for frame := range conn.Messages() {
		if l == nil {
			l = srv.welcome(conn, frame)
		} else {
			l.ServeMessage(conn, frame)
		}
	}
}

// ServeMessage handles a frame: it makes the Server a [libnet.MessageHandler].
func (srv *Server) ServeMessage(conn *libnet.Session, frame []byte) {
	if l := srv.linkOf(conn); l != nil {
		l.ServeMessage(conn, frame)
		return
	}
	srv.welcome(conn, frame)
}

// linkOf returns what the connection has from its hello to its end; nil before, and where it is another Server's.
func (srv *Server) linkOf(conn *libnet.Session) *link {
	if l, ok := inside.Kept(conn).(*link); ok && l.session.common.end == end(srv) {
		return l
	}
	return nil
}

// HandlerOf is for package libnet, which asks once for all messages that one read has brought. of is srv: a type that
// embeds a Server has this method, too, and a ServeMessage of its own that is not to be passed by.
func (srv *Server) HandlerOf(conn *libnet.Session, _ inside.Call) (h, of libnet.MessageHandler) {
	if l := srv.linkOf(conn); l != nil {
		return l, srv
	}
	return srv, srv
}

// welcome answers a connection's first frame, and returns its session's link; nil if it has none.
func (srv *Server) welcome(conn *libnet.Session, frame []byte) *link {
	if srv.Handler == nil && srv.MessageHandler == nil {
		panic("libnet: resume: a Server with neither a Handler nor a MessageHandler")
	}
	if err := keepsAll(conn); err != nil {
		if !srv.toldDrops.Swap(true) {
			srv.logError(logger(conn), err.Error())
		}
		refuse(conn, refusedBusy, err)
		return nil
	}
	h, why := parseHello(frame)
	var t claim
	if why == 0 {
		t, why = srv.claim(h)
	}
	if why == 0 {
		l, own, err := t.session.attach(conn, t.link, h.counts)
		if err == nil {
			srv.open(t, l, own)
			return l
		}
		if err != errLeft {
			t.session.finish(err)
		}
		why = refusedUnknown
	}
	refuse(conn, why, libnet.ErrSessionClosed)
	return nil
}

func refuse(conn *libnet.Session, why refusal, reason error) {
	ctx, cancel := lingering()
	_ = conn.SendContext(ctx, why)
	go func() {
		defer cancel()
		_ = conn.ShutdownWithError(ctx, reason)
	}()
}

// logger is that of the connection's server.
func logger(conn *libnet.Session) *slog.Logger {
	if l := conn.Config().Logger; l != nil {
		return l
	}
	return slog.Default()
}

func (srv *Server) open(t claim, l *link, own counts) {
	conn := l.conn
	err := conn.SendContext(context.Background(), welcome{t.token, own}) // an end of conn is told otherwise
	if err != nil && !conn.IsClosed() {
		_ = conn.CloseWithError(err) // its protocol's marshaler is not Frames
		t.session.finish(err)
	}
	t.session.opened(l)
	if t.link == firstLink && srv.Handler != nil {
		go srv.run(t.session, logger(conn))
	}
}

func (srv *Server) logError(l *slog.Logger, text string, args ...any) {
	srv.log.Write(func() { l.Error(text, args...) })
}

// linger is how long what is said last may take.
const linger = 5 * time.Second

func lingering() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), linger)
}

func (srv *Server) run(s *Session, l *slog.Logger) {
	returned := false
	defer func() {
		if returned {
			ctx, cancel := lingering()
			defer cancel()
			_ = s.Shutdown(ctx)
			return
		}
		v := recover() // nil: it has ended its goroutine
		s.finish(errHandler)
		if v != nil {
			srv.logError(l, "libnet: resume: panic in a handler", "session", s.ID(), "value", fmt.Sprintf("%.256q", usercode.Text(v)),
				"stack", string(debug.Stack()))
		}
	}()
	srv.Handler(s)
	returned = true
}

const firstLink = 1

// A claim is a connection's right to a session.
type claim struct {
	session *Session
	token   token // the next
	link    uint64
}

// claim finds or makes a hello's session. From then on it is not among those that are kept.
func (srv *Server) claim(h hello) (claim, refusal) {
	hash := h.token.hash()
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.closing {
		return claim{}, refusedBusy
	}
	if !h.resumes {
		return srv.newLocked(), 0
	}
	s := srv.findLocked(hash)
	if s == nil {
		srv.stats.Refused++
		return claim{}, refusedUnknown
	}
	if h.number <= s.known().tried {
		return claim{}, refusedBusy // it was late: the client has gone on
	}
	s.toKnow().tried = h.number
	srv.kept.remove(s)
	srv.stats.Resumed++
	return claim{s, srv.replaceLocked(s, hash), s.newestLink()}, 0
}

// newLocked makes a session.
func (srv *Server) newLocked() claim {
	if srv.sessions == nil {
		srv.sessions = make(map[uint64]*Session)
		srv.common = newCommon(&srv.Config, srv, srv.MessageHandler)
	}
	s := newSession(srv.common)
	srv.stats.Open++
	return claim{s, srv.giveTokenLocked(s), firstLink}
}

// giveTokenLocked gives a session a new token.
func (srv *Server) giveTokenLocked(s *Session) token {
	for {
		next := newToken()
		hash := next.hash()
		if key := hash.key(); srv.sessions[key] == nil { // else, once in a few thousand million years, another has it
			s.hash, srv.sessions[key] = hash, s
			return next
		}
	}
}

// replaceLocked gives a session a new token, beside the one that its client has used: it may not get the new one.
func (srv *Server) replaceLocked(s *Session, used tokenHash) token {
	if s.hash != used {
		delete(srv.sessions, s.hash.key())
	} else {
		srv.forgetBeforeLocked(s)
	}
	s.ticket.before = &used
	return srv.giveTokenLocked(s)
}

// Close ends all sessions with [libnet.ErrServerClosed], those with a connection on both ends, and takes no more. Call
// it behind the libnet.Servers' Shutdown when no session is to go on elsewhere in this process.
func (srv *Server) Close() {
	srv.mu.Lock()
	srv.closing = true
	srv.mu.Unlock()
	for s := range srv.Sessions() {
		s.finish(libnet.ErrServerClosed)
	}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if t := srv.kept.timer; t != nil && srv.kept.order.Len() == 0 {
		t.Stop()
		srv.kept.timer = nil
	}
}

// The following make the server an end of its sessions.

func (srv *Server) ownWindow() bool { return false }

func (srv *Server) confirmed(s *Session, link uint64) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if s.newestLink() == link { // else the client has used the token, and may not get its next one
		srv.forgetBeforeLocked(s)
	}
}

func (srv *Server) forgetBeforeLocked(s *Session) {
	if before := s.known().before; before != nil {
		delete(srv.sessions, before.key())
		s.ticket.before = nil
	}
}

func (srv *Server) closed(s *Session, conn *libnet.Session, last ending) {
	srv.mu.Lock()
	srv.forgetLocked(s)
	srv.mu.Unlock()
	if conn != nil {
		go func() {
			ctx, cancel := lingering()
			defer cancel()
			_ = conn.SendContext(ctx, last)
			_ = conn.Shutdown(ctx)
		}()
	}
}

func (srv *Server) forgetLocked(s *Session) {
	if !srv.hasLocked(s) {
		return
	}
	delete(srv.sessions, s.hash.key())
	srv.forgetBeforeLocked(s)
	srv.kept.remove(s)
	srv.stats.Open--
}

// hasLocked reports whether the session has not ended.
func (srv *Server) hasLocked(s *Session) bool { return srv.sessions[s.hash.key()] == s }

var (
	_ libnet.Handler        = (*Server)(nil)
	_ libnet.MessageHandler = (*Server)(nil)
)
