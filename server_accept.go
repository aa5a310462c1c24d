package libnet

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/libnet-go/libnet/internal/errchain"
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

// acceptApart asks a listener of the user's on a goroutine of its own, which it may end, and keep beyond the server's end.
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

// closeListener closes the listener, and waits for that. One of the user's may panic, end the goroutine or not return; a Unix
// socket's waits for who else looks after its directory.
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
	Refusal(reason error) []byte
}

const (
	// refusalsAtOnce is how many refused connections are answered at a time. More are closed without an answer.
	refusalsAtOnce = 32

	// refusalTime is how long the answer may take, and how long it counts against refusalsAtOnce: so a server that is flooded
	// answers no more than 64 connections a second, which is what TLS handshakes may cost it.
	refusalTime = 500 * time.Millisecond

	// refusalRequest is how much of a request is read, so that the connection is not reset before the answer is read.
	refusalRequest = 16 << 10
)

// turnAway closes a conn that becomes no session. One whose peer can be told why is closed in the background.
func (srv *Server) turnAway(conn net.Conn, reason error) {
	p, ok := srv.protocol.(refusingProtocol)
	if _, hasOwn := conn.(refusableConn); !ok || hasOwn || !isLimit(reason) || !srv.takeRefusal() {
		discard(conn, reason)
		return
	}
	go srv.answerRefused(conn, p.Refusal(reason))
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
func (srv *Server) answerRefused(conn net.Conn, answer []byte) {
	began := time.Now()
	defer func() {
		time.AfterFunc(refusalTime-time.Since(began), func() { srv.refusals.Add(-1) })
	}()
	defer discard(conn, nil)
	defer func() { _ = recover() }()
	_ = conn.SetDeadline(began.Add(refusalTime))
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

// A refusableConn has a way of its own to tell its peer why it is closed without having become a session: package ws's has.
type refusableConn interface{ Refuse(reason error) }

// discard closes a conn that is no session. TLS, which has not begun, is spared the wait for its handshake.
func discard(conn net.Conn, reason error) {
	defer func() { _ = recover() }()
	switch c := conn.(type) {
	case refusableConn:
		c.Refuse(reason)
	case *tls.Conn:
		_ = c.NetConn().Close()
	default:
		_ = conn.Close()
	}
}
