package hostile

import (
	"context"
	"log/slog"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/libnet-go/libnet"
)

// A userListener is a listener of the user's.
type userListener struct {
	net.Listener
	b *bomb
}

func (l *userListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	kept := false
	defer func() {
		if !kept {
			_ = conn.Close()
		}
	}()
	does := l.b.at("net.Listener.Accept")
	kept = does == "" || does == givesBoth
	switch does {
	case "":
		return conn, nil
	case givesTyped:
		return (*userConn)(nil), nil
	case givesBoth:
		return conn, syscall.ECONNABORTED
	}
	return nil, l.b.failure(does)
}

func (l *userListener) Close() error {
	defer l.Listener.Close()
	return l.b.failure(l.b.at("net.Listener.Close"))
}

func (l *userListener) Addr() net.Addr {
	l.b.at("net.Listener.Addr")
	return l.Listener.Addr()
}

// A userConn is a conn of the user's, over one of package net.
type userConn struct {
	net.Conn
	b *bomb
}

func (c *userConn) moved(does behaviour, n, most int) (int, error) {
	switch does {
	case givesLess:
		return -1, nil
	case givesMore:
		return most + 1, nil
	case givesNil:
		return 0, nil
	}
	return n, c.b.failure(does)
}

func (c *userConn) Read(p []byte) (int, error) {
	if does := c.b.at("net.Conn.Read"); does != "" {
		return c.moved(does, 0, len(p))
	}
	return c.Conn.Read(p)
}

func (c *userConn) Write(p []byte) (int, error) {
	if does := c.b.at("net.Conn.Write"); does != "" {
		return c.moved(does, 0, len(p))
	}
	return c.Conn.Write(p)
}

func (c *userConn) Close() error {
	defer c.Conn.Close()
	return c.b.failure(c.b.at("net.Conn.Close"))
}

func (c *userConn) CloseWrite() error {
	if does := c.b.at("net.Conn.CloseWrite"); does != "" {
		return c.b.failure(does)
	}
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return syscall.ENOTSUP
	}
	return half.CloseWrite()
}

func (c *userConn) addr(site string, addr net.Addr) net.Addr {
	switch c.b.at(site) {
	case givesNil:
		return nil
	case givesTyped:
		return (*net.TCPAddr)(nil)
	}
	return &userAddr{addr, c.b}
}

func (c *userConn) LocalAddr() net.Addr  { return c.addr("net.Conn.LocalAddr", c.Conn.LocalAddr()) }
func (c *userConn) RemoteAddr() net.Addr { return c.addr("net.Conn.RemoteAddr", c.Conn.RemoteAddr()) }

func (c *userConn) SetDeadline(t time.Time) error {
	c.b.at("net.Conn.SetDeadline")
	return c.Conn.SetDeadline(t)
}

func (c *userConn) SetReadDeadline(t time.Time) error {
	if does := c.b.at("net.Conn.SetReadDeadline"); does != "" {
		return c.b.failure(does)
	}
	return c.Conn.SetReadDeadline(t)
}

func (c *userConn) SetWriteDeadline(t time.Time) error {
	if does := c.b.at("net.Conn.SetWriteDeadline"); does != "" {
		return c.b.failure(does)
	}
	return c.Conn.SetWriteDeadline(t)
}

func (c *userConn) SetWriteBuffer(n int) error {
	return c.b.failure(c.b.at("net.Conn.SetWriteBuffer"))
}

// A userAddr is an address of the user's.
type userAddr struct {
	net.Addr
	b *bomb
}

func (a *userAddr) Network() string {
	a.b.at("net.Addr.Network")
	return a.Addr.Network()
}

func (a *userAddr) String() string {
	a.b.at("net.Addr.String")
	return a.Addr.String()
}

// A coverConn is a conn that says what is below it, as a TLS conn does.
type coverConn struct{ *userConn }

func (c coverConn) NetConn() net.Conn {
	switch c.b.at("net.Conn.NetConn") {
	case givesNil:
		return nil
	case givesTyped:
		return (*net.TCPConn)(nil)
	}
	return c.Conn
}

// A systemConn is a conn that hands out a descriptor.
type systemConn struct{ *userConn }

func (c systemConn) SyscallConn() (syscall.RawConn, error) {
	if does := c.b.at("syscall.Conn.SyscallConn"); does != "" {
		return nil, c.b.failure(does)
	}
	sc, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil, syscall.ENOTSUP
	}
	raw, err := sc.SyscallConn()
	return userRaw{raw, c.b, new(atomic.Int32)}, err
}

// A userRaw is the handle of such a descriptor.
type userRaw struct {
	syscall.RawConn
	b     *bomb
	calls *atomic.Int32
}

func (r userRaw) Control(f func(fd uintptr)) error {
	site := "syscall.RawConn.Control"
	if r.calls.Add(1) > 1 { // the first is for the options
		site += " while open"
	}
	switch does := r.b.at(site); does {
	case "":
		return r.RawConn.Control(f)
	case givesNil:
		return nil
	case givesMore:
		go func() { _ = r.RawConn.Control(f) }()
		_ = r.RawConn.Control(f)
		return r.RawConn.Control(f)
	default:
		return r.b.failure(does)
	}
}

// A bufferConn bounds its own buffers.
type bufferConn struct{ *userConn }

func (c bufferConn) SetReadBuffer(int) error {
	return c.b.failure(c.b.at("net.Conn.SetReadBuffer"))
}

func (c bufferConn) SetWriteBuffer(int) error {
	return c.b.failure(c.b.at("net.Conn.SetWriteBuffer"))
}

// A sliceConn cannot be compared.
type sliceConn struct {
	net.Conn
	_ []int
}

// A framedConn says that it keeps messages apart by itself.
type framedConn struct{ *userConn }

func (c framedConn) WrapProtocol(p libnet.Protocol) libnet.Protocol {
	switch c.b.at("libnet.MessageConn.WrapProtocol") {
	case givesNil:
		return nil
	case givesTyped:
		return (*userProtocol)(nil)
	}
	return p
}

// logs is a log handler of the user's.
type logs struct{ b *bomb }

func (l logs) Enabled(context.Context, slog.Level) bool {
	l.b.at("slog.Handler.Enabled")
	return true
}

func (l logs) Handle(context.Context, slog.Record) error {
	return l.b.failure(l.b.at("slog.Handler.Handle"))
}

func (l logs) WithAttrs([]slog.Attr) slog.Handler {
	l.b.at("slog.Handler.WithAttrs")
	return l
}

func (l logs) WithGroup(string) slog.Handler {
	l.b.at("slog.Handler.WithGroup")
	return l
}
