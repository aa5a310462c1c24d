package libnet

import (
	"crypto/tls"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/libnet-go/libnet/internal/errchain"
	"github.com/libnet-go/libnet/internal/inside"
	"github.com/libnet-go/libnet/internal/proxyproto"
	"github.com/libnet-go/libnet/internal/sockets"
	"github.com/libnet-go/libnet/internal/usercode"
)

// Back-off after a listener's passing error, as net/http and the original libnet have it.
const (
	firstBackoff = 5 * time.Millisecond
	lastBackoff  = time.Second
)

// acceptConn waits for a connection. It waits out what passes, for as long as it takes, and returns
// ErrServerClosed after Stop or Shutdown and any other error wrapped.
func (srv *Server) acceptConn() (net.Conn, error) {
	backoff := firstBackoff
	for {
		conn, err := srv.tryAccept()
		if err == nil {
			return conn, nil
		}
		if srv.stopped() || errorIs(err, net.ErrClosed) {
			return nil, ErrServerClosed
		}
		if srv.waitsOut(err) {
			continue
		}
		if !passes(err) {
			return nil, acceptError(err)
		}
		srv.acceptFailed(err, backoff)
		if !srv.pause(backoff) {
			return nil, ErrServerClosed
		}
		backoff = min(2*backoff, lastBackoff)
	}
}

// An acceptPause keeps connections waiting in the listener: its deadline is over.
type acceptPause struct {
	noticed chan struct{} // of one place: who accepts waits
	over    chan struct{}
}

// waitsOut waits for the end of a pause, if that is what err comes of.
func (srv *Server) waitsOut(err error) bool {
	srv.mu.Lock()
	p := srv.paused
	srv.mu.Unlock()
	if p == nil || !errorIs(err, os.ErrDeadlineExceeded) {
		return false
	}
	select {
	case p.noticed <- struct{}{}:
	default:
	}
	select {
	case <-p.over:
	case <-srv.stopping:
	}
	return true
}

// errNoConn is for a listener that panics, ends the goroutine, or returns neither a connection nor an error. Like
// other failures of a listener it may pass.
var errNoConn = newError("libnet: the listener returned no connection")

// tryAccept asks the listener.
func (srv *Server) tryAccept() (net.Conn, error) {
	switch srv.listener.(type) {
	case *net.TCPListener, *sockets.UnixListener, sockets.PacketListener:
		return srv.listener.Accept()
	}
	return srv.acceptApart()
}

// acceptApart asks a listener of the user's on a goroutine of its own, which it may end, and keep beyond the server's
// end.
func (srv *Server) acceptApart() (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	accepted := make(chan result)
	go func() {
		r := result{err: errNoConn} // stays if the listener ends the goroutine
		defer func() {
			select {
			case accepted <- r:
			case <-srv.stopping:
				if r.conn != nil {
					discard(r.conn, ErrServerClosed)
				}
			}
		}()
		r.conn, r.err = srv.acceptForeign()
	}()
	select {
	case r := <-accepted:
		return r.conn, r.err
	case <-srv.stopping:
		return nil, ErrServerClosed
	}
}

func (srv *Server) acceptForeign() (conn net.Conn, err error) {
	defer func() {
		if r := recover(); r != nil {
			_ = srv.panicked("listener", r)
			conn, err = nil, errNoConn
		}
	}()
	conn, err = srv.listener.Accept()
	switch none := isNil(conn); {
	case err != nil && !none:
		discard(conn, err)
		return nil, err
	case err == nil && none:
		return nil, errNoConn
	}
	return conn, err
}

// acceptError wraps an error of the listener's; one that has no text to give is only named.
func acceptError(err error) error {
	wrapped, ok := usercode.Answer(func() error { return fmt.Errorf("libnet: accept: %w", err) })
	if !ok {
		return fmt.Errorf("libnet: accept: a %T without a text", err)
	}
	return wrapped
}

// listenerPatience is how long a Shutdown without time waits for its listener: the next one wants the address.
const listenerPatience = 100 * time.Millisecond

// closeListener closes the listener, and waits for that. One of the user's may panic, end the goroutine or not return;
// a Unix socket's waits for who else looks after its directory.
func (srv *Server) closeListener(patience time.Duration) {
	within(max(patience, listenerPatience), func() {
		defer func() {
			if r := recover(); r != nil {
				_ = srv.panicked("listener", r)
			}
		}()
		_ = srv.listener.Close()
	})
}

// pause waits for d; false if the server stopped first.
func (srv *Server) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-srv.stopping:
		return false
	}
}

// passes reports whether accepting again may succeed without anybody's help.
func passes(err error) bool {
	return err == errNoConn || asked(err, func() bool {
		if errchain.Is(err, os.ErrDeadlineExceeded) {
			return false // a deadline that the user set on the listener
		}
		if errno, ok := errchain.As[syscall.Errno](err); ok {
			return sockets.Transient(errno)
		}
		ne, ok := errchain.As[net.Error](err)
		return ok && ne.Temporary() //lint:ignore SA1019 listeners that are no sockets say it this way
	})
}

// A refusingProtocol has an answer for a peer whose connection a limit refuses, or a stopped server: package ws's has.
type refusingProtocol interface {
	// Refusal is all that such a peer gets. It may not wait.
	Refusal(reason error, _ inside.Call) []byte
}

const (
	// refusalsAtOnce is how many refused connections are answered at a time. More are closed without an answer.
	refusalsAtOnce = 32

	// refusalTime is how long the answer may take, and how long it counts against refusalsAtOnce: so a server that is
	// flooded answers no more than 64 connections a second, which is what TLS handshakes may cost it.
	refusalTime = 500 * time.Millisecond

	// refusalRequest is how much of a request is read, so that the connection is not reset before the answer is read.
	refusalRequest = 16 << 10
)

// turnAway closes a conn that becomes no session. One whose peer can be told why is closed in the background.
func (srv *Server) turnAway(conn net.Conn, proxied bool, reason error) {
	p, ok := srv.protocol.(refusingProtocol)
	if _, hasOwn := conn.(refusableConn); !ok || hasOwn || !isLimit(reason) || !srv.takeRefusal() {
		discard(conn, reason)
		return
	}
	go srv.answerRefused(conn, proxied, p.Refusal(reason, inside.Call{}))
}

// isLimit reports whether a connection is refused for what the server has, and not for anything about the connection.
func isLimit(reason error) bool {
	return reason == ErrTooManySessions || reason == ErrTooManySessionsPerIP || reason == ErrServerClosed
}

func (srv *Server) takeRefusal() bool {
	if srv.refusals.Add(1) <= refusalsAtOnce {
		return true
	}
	srv.refusals.Add(-1)
	return false
}

// answerRefused answers a request without looking at it, and closes the connection. The conn may be the user's.
func (srv *Server) answerRefused(conn net.Conn, proxied bool, answer []byte) {
	began := time.Now()
	defer func() {
		time.AfterFunc(refusalTime-time.Since(began), func() { srv.refusals.Add(-1) })
	}()
	defer discard(conn, nil)
	defer func() { _ = recover() }()
	_ = conn.SetDeadline(began.Add(refusalTime))
	if proxied {
		if _, err := proxyproto.Read(inClear(conn)); err != nil {
			return
		}
	}
	if d := sockets.Of(conn); d != nil && d.Handshake() != nil {
		return
	}
	// Clients take an answer that comes before their request for an error.
	request := make([]byte, 512)
	if _, err := conn.Read(request); err != nil {
		return
	}
	if _, err := conn.Write(answer); err == nil {
		awaitPeersEnd(conn, request)
	}
}

// answersRefused reports whether the client behind a proxy is told why it is refused, when its session is made a codec.
// It has as long for that as a connection that becomes no session.
func (srv *Server) answersRefused(s *Session, reason error) bool {
	if _, ok := srv.protocol.(refusingProtocol); !ok || !isLimit(reason) || !srv.takeRefusal() {
		return false
	}
	time.AfterFunc(refusalTime, func() {
		srv.refusals.Add(-1)
		s.terminate(reason)
	})
	return true
}

// answerRefusal is answerRefused for a session. It returns what the session is to end for.
func (s *Session) answerRefusal(reason error) error {
	p, ok := s.owner.protocol.(refusingProtocol)
	if !ok || !s.proxied().answers {
		return reason
	}
	if _, err := (stream{s}).Read(make([]byte, 512)); err != nil {
		return reason
	}
	s.writeAnswer(p.Refusal(reason, inside.Call{}))
	return &handshakeFailed{reason}
}

// awaitPeersEnd ends the output, and reads until the peer has ended, too, or the conn's deadline.
func awaitPeersEnd(conn net.Conn, room []byte) {
	below := sockets.Transport(conn)
	for _, c := range []net.Conn{conn, below} {
		if half := sockets.HalfClose(c); half != nil {
			_ = half.CloseWrite()
		}
	}
	_, _ = io.CopyBuffer(io.Discard, io.LimitReader(below, refusalRequest), room)
}

// A refusableConn has a way of its own to tell its peer why it is closed without having become a session: package ws's
// has.
type refusableConn interface {
	Refuse(reason error, _ inside.Call)
}

// discard closes a conn that is no session. TLS, which has not begun, is spared the wait for its handshake.
func discard(conn net.Conn, reason error) {
	defer func() { _ = recover() }()
	switch c := conn.(type) {
	case refusableConn:
		c.Refuse(reason, inside.Call{})
	case *tls.Conn:
		_ = c.NetConn().Close()
	default:
		_ = conn.Close()
	}
}

// A proxied is what only a session has whose peer is a proxy, which begins with a header. The session's clock has it.
type proxied struct {
	timeout time.Duration // for the header; 0: none
	begun   atomic.Bool   // somebody reads it
	over    chan struct{} // closed when it has been read, or not

	// Immutable once over.
	err     error // why it was not, or why the client is refused
	answers bool  // the client is told that

	client netip.AddrPort // guarded by the session's mu; invalid where the connection's own holds

	// Owned by tick.
	from int64 // when the timeout began to count
	late recheck
}

// expectProxyHeader says that the peer is a proxy. Nobody knows the session yet.
func (s *Session) expectProxyHeader(timeout time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchLocked(resolveTime(timeout, maxDuration))
	if s.clock != nil {
		s.clock.proxied = &proxied{timeout: timeout, over: make(chan struct{}), from: openedNow}
	}
}

// proxied returns nil but for a session whose peer is a proxy.
func (s *Session) proxied() *proxied {
	if !s.owner.proxies {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clock == nil {
		return nil
	}
	return s.clock.proxied
}

func (s *Session) client() netip.AddrPort {
	p := s.proxied()
	if p == nil {
		return netip.AddrPort{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return p.client
}

// proxyHeader reads the header that the peer begins with, if it is a proxy. Of several callers one reads, and the
// others wait: not for a mutex, with which the clock of a testing/synctest bubble would stand still.
func (s *Session) proxyHeader() error {
	p := s.proxied()
	if p == nil {
		return nil
	}
	if p.begun.CompareAndSwap(false, true) {
		p.err = ErrSessionClosed // stays if a conn of the user's ends the goroutine
		defer close(p.over)
		p.err = s.readProxyHeader(p)
		return p.err
	}
	<-p.over
	return p.err
}

func (s *Session) readProxyHeader(p *proxied) (err error) {
	defer s.recoveredLocked("connection", &err)
	client, err := proxyproto.Read(inClear(s.conn))
	if malformed, ok := err.(proxyproto.Error); ok {
		err = &headerError{string(malformed)}
	}
	if err != nil {
		return err
	}
	if _, more := s.handshakes(); !more && s.sock != nil && !s.sock.Layered() {
		sockets.LetGo(s.conn) // nobody else waits in it: there is no codec yet
	}
	if !client.IsValid() || client == addrPortOf(s.conn.RemoteAddr()) { // a check, which must not say so in version 1 (proxy-protocol.txt, 2.1)
		return nil
	}
	s.mu.Lock()
	p.client = client
	s.mu.Unlock()
	if err = s.owner.server.takeClient(s, client.Addr()); err != nil {
		p.answers = s.owner.server.answersRefused(s, err)
	}
	return err
}

// inClear is the conn that the bytes of conn come from before TLS, if conn is TLS.
func inClear(conn net.Conn) net.Conn {
	if d := sockets.Of(conn); sockets.IsTLS(conn) || d != nil && d.Layered() {
		return sockets.Transport(conn)
	}
	return conn
}

// awaitProxyHeader is proxyHeader for who runs the session: false says that it has ended. A client that is refused and
// is told so is told by who makes the codec.
func (s *Session) awaitProxyHeader() bool {
	err := s.proxyHeader()
	if err == nil || s.proxied().answers {
		return true
	}
	_ = s.fail(err)
	return false
}

// isAwaited reports whether the header has not come.
func (p *proxied) isAwaited() bool {
	return p != nil && !isClosed(p.over)
}

// isBeingRead reports whether somebody waits for the header.
func (p *proxied) isBeingRead() bool { return p.isAwaited() && p.begun.Load() }

// proxyHeaderDue is when the header is late, the far future where it cannot be.
func (s *Session) proxyHeaderDue(p *proxied) int64 {
	if !p.isAwaited() || p.timeout == 0 || s.IsClosed() {
		return math.MaxInt64
	}
	return max(after(p.from, p.timeout), p.late.at)
}

func (p *proxied) beginAgain(now int64) {
	if p != nil && p.from == openedNow {
		p.from = now
	}
}

// proxyHeaderIsLate returns what becomes of a session whose header is late.
func (s *Session) proxyHeaderIsLate(p *proxied, now int64) error {
	switch waits := s.inputWaits(); {
	case waits && !p.begun.Load(): // it is this side that has not begun: see Server.Accept
		p.from = now
		return nil
	case waits && p.late.grant(p.from, now):
		return nil
	}
	return &headerError{fmt.Sprintf("it has not come within %v", p.timeout)}
}
