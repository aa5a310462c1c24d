package libnet

import (
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/libnet-go/libnet/internal/errchain"
	"github.com/libnet-go/libnet/internal/sockets"
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

// tryAccept asks the listener. One of the user's is asked on a goroutine of its own, which it may end.
func (srv *Server) tryAccept() (conn net.Conn, err error) {
	switch srv.listener.(type) {
	case *net.TCPListener, *sockets.UnixListener, sockets.PacketListener:
		return srv.listener.Accept()
	}
	err = errNoConn
	apart(func() { conn, err = srv.acceptForeign() })
	return conn, err
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
func acceptError(err error) (wrapped error) {
	if !apart(func() { wrapped = fmt.Errorf("libnet: accept: %w", err) }) {
		wrapped = fmt.Errorf("libnet: accept: a %T without a text", err)
	}
	return wrapped
}

// closeListener closes the listener, and waits for that. One of the user's may panic, end the goroutine or not return; a Unix
// socket's waits for who else looks after its directory.
func (srv *Server) closeListener(patience time.Duration) {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		defer func() {
			if r := recover(); r != nil {
				_ = srv.panicked("listener", r)
			}
		}()
		_ = srv.listener.Close()
	}()
	bound := time.NewTimer(patience)
	defer bound.Stop()
	select {
	case <-closed:
	case <-bound.C:
	}
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
