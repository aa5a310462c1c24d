package testkit

import (
	"net"
	"syscall"
	"testing"
)

// SocketOption reads an option of the socket in conn.
func SocketOption(t testing.TB, conn syscall.Conn, level, option int) (value int) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if ctlErr := raw.Control(func(fd uintptr) { value, err = syscall.GetsockoptInt(int(fd), level, option) }); ctlErr != nil {
		t.Fatal(ctlErr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return value
}

type (
	aConn interface{ net.Conn }

	embedsInterface struct{ net.Conn }
	embedsTCPConn   struct{ *net.TCPConn }
	hasNetConn      struct{ aConn }
	hasSyscallConn  struct {
		aConn
		socket syscall.Conn
	}
)

func (c hasNetConn) NetConn() net.Conn                         { return c.aConn }
func (c hasSyscallConn) SyscallConn() (syscall.RawConn, error) { return c.socket.SyscallConn() }

// Wraps are ways to wrap a conn that lead to its socket, but for TLS, which has two sides.
var Wraps = map[string]func(*net.TCPConn) net.Conn{
	"not wrapped":                   func(c *net.TCPConn) net.Conn { return c },
	"a value that embeds net.Conn":  func(c *net.TCPConn) net.Conn { return embedsInterface{c} },
	"a pointer that embeds it":      func(c *net.TCPConn) net.Conn { return &embedsInterface{c} },
	"one that embeds *net.TCPConn":  func(c *net.TCPConn) net.Conn { return &embedsTCPConn{c} },
	"NetConn":                       func(c *net.TCPConn) net.Conn { return hasNetConn{c} },
	"SyscallConn":                   func(c *net.TCPConn) net.Conn { return hasSyscallConn{c, c} },
	"NetConn around an embedding":   func(c *net.TCPConn) net.Conn { return hasNetConn{embedsInterface{c}} },
	"several that embed each other": func(c *net.TCPConn) net.Conn { return embedsInterface{&embedsInterface{embedsInterface{c}}} },
}
