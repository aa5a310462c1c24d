package sockets

import (
	"crypto/tls"
	"net"
)

// A turnTaker is a TLS conn over one in memory. Its callers wait for each other on channels: crypto/tls has them wait
// for mutexes while another waits for the peer, and with a goroutine that waits for a mutex the clock of a
// testing/synctest bubble stands still, so that no deadline would end that wait. Of reads there is one at a time: a
// session sees to that.
type turnTaker struct {
	*tls.Conn
	shaking chan struct{} // of one place
}

// TakeTurns returns conn, which has no descriptor below, or a conn in its place if it is TLS.
func TakeTurns(conn net.Conn) net.Conn {
	if c, ok := conn.(*tls.Conn); ok {
		return turnTaker{c, make(chan struct{}, 1)}
	}
	return conn
}

// IsTLS reports whether conn is crypto/tls's.
func IsTLS(conn net.Conn) bool {
	switch conn.(type) {
	case *tls.Conn, turnTaker:
		return true
	}
	return false
}

func (c turnTaker) Handshake() error {
	c.shaking <- struct{}{}
	defer func() { <-c.shaking }()
	return c.Conn.Handshake()
}

func (c turnTaker) ConnectionState() tls.ConnectionState {
	c.shaking <- struct{}{}
	defer func() { <-c.shaking }()
	return c.Conn.ConnectionState()
}

func (c turnTaker) Read(p []byte) (int, error) {
	if err := c.Handshake(); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c turnTaker) Write(p []byte) (int, error) {
	if err := c.Handshake(); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
