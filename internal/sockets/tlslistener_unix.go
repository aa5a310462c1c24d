//go:build unix

package sockets

import (
	"crypto/tls"
	"net"
	"sync"
	"time"
)

// A httpConn is a Secured for an HTTP server, which does no handshake but that of crypto/tls's own conns: whoever first
// uses it does it.
type httpConn struct {
	*Secured
	once sync.Once
}

// forHTTP returns conn for an HTTP server.
func forHTTP(conn net.Conn) net.Conn {
	if c, ok := conn.(*Secured); ok {
		c.attached = true
		return &httpConn{Secured: c}
	}
	return conn
}

// FromHTTP returns what a conn of a [TLSListener] is without the HTTP server; any other conn as it is.
func FromHTTP(conn net.Conn) net.Conn {
	if c, ok := conn.(*httpConn); ok {
		return c.Secured
	}
	return conn
}

// httpHandshakeTimeout bounds a handshake. No deadline of the HTTP server's does: it sets those behind it.
const httpHandshakeTimeout = 10 * time.Second

func (c *httpConn) secure() {
	c.once.Do(func() {
		late := time.AfterFunc(httpHandshakeTimeout, func() { _ = c.below.Close() })
		defer late.Stop()
		_ = c.doHandshake()
	})
}

func (c *httpConn) Read(p []byte) (int, error) {
	c.secure()
	return c.Secured.Read(p)
}

func (c *httpConn) Write(p []byte) (int, error) {
	c.secure()
	return c.Secured.Write(p)
}

// Handshake is for who asks for it before net/http does, as ConnContext may: that of the Secured would wait for one
// that nobody does.
func (c *httpConn) Handshake() error {
	c.secure()
	return c.Secured.Handshake()
}

// ConnectionState is what net/http asks first, for its requests.
func (c *httpConn) ConnectionState() tls.ConnectionState {
	c.secure()
	return c.Secured.ConnectionState()
}
