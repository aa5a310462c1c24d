package monitor

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/libnet-go/libnet/internal/usercode"
)

var errConn = errors.New("a method of the connection has panicked")

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
