package monitor

import (
	"errors"
	"net"
	"sync"

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
	temporary bool
}

func asked(err error) error {
	temporary, _ := usercode.Answer(func() bool {
		e, ok := err.(net.Error)
		return ok && e.Temporary() //lint:ignore SA1019 net/http asks for it
	})
	return &acceptError{usercode.Asked(err), temporary}
}

func (e *acceptError) Unwrap() error   { return e.error }
func (e *acceptError) Timeout() bool   { return false }
func (e *acceptError) Temporary() bool { return e.temporary }
