package libnet

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
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
		conn, err := srv.listener.Accept()
		if err == nil {
			return conn, nil
		}
		if srv.stopped() {
			return nil, ErrServerClosed
		}
		if errors.Is(err, net.ErrClosed) {
			return nil, ErrServerClosed
		}
		if !passes(err) {
			return nil, fmt.Errorf("libnet: accept: %w", err)
		}
		srv.acceptFailed(err, backoff)
		if !srv.pause(backoff) {
			return nil, ErrServerClosed
		}
		backoff = min(2*backoff, lastBackoff)
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

// passes reports whether accepting again may succeed without anybody's help. Beyond what Temporary says
// these are the errors of the table that is full, of memory, and those that accept(2) passes on from the
// network of the connection that it was about to return.
func passes(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return false // a deadline that the user set on the listener
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Temporary() || passingErrno(errno)
	}
	var ne net.Error
	return errors.As(err, &ne) && ne.Temporary() //lint:ignore SA1019 listeners that are no sockets say it this way
}
