package libnet

import (
	"crypto/tls"
	"io"
	"net"
	"time"

	"github.com/libnet-go/libnet/internal/sockets"
)

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
