package monitor

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/libnet-go/libnet/internal/usercode"
)

// A userListener is the program's, under net/http, which would wait in its Close with a lock held, and on whose
// goroutines a panic ends the process. One goroutine waits in the program's Accept, and is left behind where neither
// Accept nor Close returns.
type userListener struct {
	net.Listener
	accepted chan accepted
	closed   chan struct{} // closed when Close has begun

	closing  sync.Once
	unclosed bool // the program's Close has not returned in time; set by Close
}

type accepted struct {
	conn net.Conn
	err  error
}

var (
	errNoConn   = errors.New("the listener's Accept has returned neither a connection nor an error")
	errAccept   = errors.New("the listener's Accept has panicked, or ended its goroutine")
	errConn     = errors.New("a method of the connection has panicked")
	errUnclosed = errors.New("libnet: monitor: the listener's Close has not returned")
)

func newUserListener(l net.Listener) *userListener {
	u := &userListener{Listener: l, accepted: make(chan accepted), closed: make(chan struct{})}
	go u.acceptAll()
	return u
}

func (u *userListener) Accept() (net.Conn, error) {
	select {
	case a := <-u.accepted:
		return a.conn, a.err
	case <-u.closed:
		return nil, net.ErrClosed
	}
}

// Close waits for the program's for a second at most.
func (u *userListener) Close() error {
	err := net.ErrClosed
	u.closing.Do(func() {
		close(u.closed)
		var returned bool
		err, returned = usercode.Answer(u.Listener.Close)
		u.unclosed = !returned
	})
	return err
}

// acceptAll accepts until Close. Whether to go on behind an error net/http decides.
func (u *userListener) acceptAll() {
	a := accepted{err: errAccept} // unless Accept returns
	defer func() {
		if recover(); a.err == errAccept {
			u.pass(a)
		}
	}()
	for goOn := true; goOn; {
		a = accepted{err: errAccept}
		conn, err := u.Listener.Accept()
		switch {
		case err != nil:
			a.err = asked(err)
		case usercode.IsNil(conn):
			a.err = errNoConn
		case !tellsItsAddresses(conn):
			a.err = nil
			closeConn(conn)
			continue
		default:
			a = accepted{conn: guardConn(conn)}
		}
		goOn = u.pass(a)
	}
}

// pass reports whether somebody has taken what was accepted.
func (u *userListener) pass(a accepted) bool {
	select {
	case u.accepted <- a:
		return true
	case <-u.closed:
		if a.conn != nil {
			closeConn(a.conn)
		}
		return false
	}
}

// tellsItsAddresses asks what net/http asks first of all, where it does not recover.
func tellsItsAddresses(conn net.Conn) bool {
	_, told := usercode.Answer(func() string {
		conn.LocalAddr()
		if addr := conn.RemoteAddr(); addr != nil {
			return addr.String()
		}
		return ""
	})
	return told
}

func closeConn(conn net.Conn) { go usercode.Answer(conn.Close) }

// An acceptError is an error of the program's that was asked, once, what net/http asks one.
type acceptError struct {
	error
	text      string
	temporary bool
}

func asked(err error) error {
	temporary, _ := usercode.Answer(func() bool {
		e, ok := err.(interface{ Temporary() bool }) // what net/http asks a net.Error
		return ok && e.Temporary()
	})
	return &acceptError{err, usercode.Text(err), temporary}
}

func (e *acceptError) Error() string   { return e.text }
func (e *acceptError) Unwrap() error   { return e.error }
func (e *acceptError) Timeout() bool   { return false }
func (e *acceptError) Temporary() bool { return e.temporary }

// A userConn is the program's. net/http reads from it on a goroutine of its own while a request is served.
type userConn struct{ net.Conn }

// guardConn leaves one of crypto/tls's as it is, which net/http has to know.
func guardConn(conn net.Conn) net.Conn {
	switch conn.(type) {
	case *tls.Conn, *net.TCPConn, *net.UnixConn:
		return conn
	}
	return userConn{conn}
}

func caught(err *error) {
	if v := recover(); v != nil {
		*err = fmt.Errorf("%w: %.128q", errConn, usercode.Text(v))
	}
}

func (c userConn) Read(p []byte) (n int, err error) {
	defer caught(&err)
	if n, err = c.Conn.Read(p); n < 0 || n > len(p) {
		return 0, errConn
	}
	return n, err
}

func (c userConn) Write(p []byte) (n int, err error) {
	defer caught(&err)
	if n, err = c.Conn.Write(p); n < 0 || n > len(p) {
		return 0, errConn
	}
	return n, err
}

// CloseWrite does nothing where the program's has none.
func (c userConn) CloseWrite() (err error) {
	defer caught(&err)
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

func (c userConn) Close() (err error) {
	defer caught(&err)
	return c.Conn.Close()
}

func (c userConn) SetDeadline(t time.Time) (err error) {
	defer caught(&err)
	return c.Conn.SetDeadline(t)
}

func (c userConn) SetReadDeadline(t time.Time) (err error) {
	defer caught(&err)
	return c.Conn.SetReadDeadline(t)
}

func (c userConn) SetWriteDeadline(t time.Time) (err error) {
	defer caught(&err)
	return c.Conn.SetWriteDeadline(t)
}
