package libnet

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// An eventConn is the connection of an event-mode session: a descriptor that the runtime's poller does not
// know, so that a message wakes one poller and not two, and a silent connection costs a number and an
// address. What must wait, a write to a slow peer or the wait for its EOF, is left to a conn of package
// net, made of the same socket when it is first needed.
type eventConn struct {
	// Immutable after takeOver.
	remote netip.AddrPort
	server *Server
	fd     int32

	// users counts those who use fd, and has connClosed added once it is to be closed. The last one closes
	// it, so nobody can use its number when another connection has it.
	users atomic.Int32

	mu      sync.Mutex
	waiting atomic.Pointer[net.TCPConn] // nil until something must wait; set under mu
}

const (
	connClosed   = 1 << 28 // added to users by Close
	connReleased = 1 << 29 // added when the descriptor is closed
)

var (
	_ net.Conn     = (*eventConn)(nil)
	_ syscall.Conn = (*eventConn)(nil)
)

// takeOver makes an eventConn of a TCP conn, and closes that. It returns what it cannot take over.
func takeOver(conn net.Conn, srv *Server) net.Conn {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return conn
	}
	remote, ok := tcp.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return conn
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return conn
	}
	fd, dupErr := int32(-1), error(nil)
	err = raw.Control(func(old uintptr) { fd, dupErr = dupDescriptor(old) })
	if err != nil || dupErr != nil {
		return conn
	}
	_ = tcp.Close() // takes the socket out of the runtime's poller and leaves it to fd
	return &eventConn{remote: remote.AddrPort(), server: srv, fd: fd}
}

func dupDescriptor(fd uintptr) (int32, error) {
	n, _, errno := syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_DUPFD_CLOEXEC, 0)
	if errno != 0 {
		return -1, os.NewSyscallError("fcntl", errno)
	}
	return int32(n), nil
}

// use calls f with the descriptor, which stays open meanwhile.
func (c *eventConn) use(f func(fd uintptr) bool) (done bool, err error) {
	if c.users.Add(1) >= connClosed {
		err = net.ErrClosed
	} else {
		done = f(uintptr(c.fd))
	}
	if c.users.Add(-1) == connClosed {
		c.closeDescriptor()
	}
	return done, err
}

func (c *eventConn) closeDescriptor() {
	if c.users.CompareAndSwap(connClosed, connClosed+connReleased) {
		_ = syscall.Close(int(c.fd))
	}
}

// Close closes the connection, as net.TCPConn's does: who waits in it returns.
func (c *eventConn) Close() error {
	for {
		users := c.users.Load()
		if users >= connClosed {
			return net.ErrClosed
		}
		if c.users.CompareAndSwap(users, users+connClosed) {
			break
		}
	}
	c.closeDescriptor()
	c.mu.Lock()
	defer c.mu.Unlock()
	if conn := c.waiting.Load(); conn != nil {
		return conn.Close()
	}
	return nil
}

// conn returns the conn that can wait.
func (c *eventConn) conn() (*net.TCPConn, error) {
	if conn := c.waiting.Load(); conn != nil {
		return conn, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if conn := c.waiting.Load(); conn != nil {
		return conn, nil
	}
	var conn *net.TCPConn
	var connErr error
	_, err := c.use(func(fd uintptr) bool {
		conn, connErr = newTCPConn(fd)
		return true
	})
	if err = errors.Join(err, connErr); err != nil {
		return nil, err
	}
	if err := setSocketOptions(conn, &c.server.sessionOwner().Config); err != nil { // package net has set its own
		_ = conn.Close()
		return nil, err
	}
	c.waiting.Store(conn)
	return conn, nil
}

func newTCPConn(fd uintptr) (*net.TCPConn, error) {
	n, err := dupDescriptor(fd)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(n), "tcp")
	defer f.Close() // FileConn has a descriptor of its own
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		_ = conn.Close()
		return nil, net.UnknownNetworkError(conn.RemoteAddr().Network())
	}
	return tcp, nil
}

// Read waits; the poller reads through the descriptor.
func (c *eventConn) Read(p []byte) (int, error) {
	conn, err := c.conn()
	if err != nil {
		return 0, err
	}
	return conn.Read(p)
}

func (c *eventConn) Write(p []byte) (int, error) {
	conn, err := c.conn()
	if err != nil {
		return 0, err
	}
	return conn.Write(p)
}

func (c *eventConn) CloseWrite() (err error) {
	_, useErr := c.use(func(fd uintptr) bool {
		err = os.NewSyscallError("shutdown", syscall.Shutdown(int(fd), syscall.SHUT_WR))
		return true
	})
	return errors.Join(useErr, err)
}

// LocalAddr is the socket's, and the listener's once the socket is closed.
func (c *eventConn) LocalAddr() net.Addr {
	var local syscall.Sockaddr
	_, _ = c.use(func(fd uintptr) bool {
		local, _ = syscall.Getsockname(int(fd))
		return true
	})
	switch a := local.(type) {
	case *syscall.SockaddrInet4:
		return &net.TCPAddr{IP: a.Addr[:], Port: a.Port}
	case *syscall.SockaddrInet6:
		return &net.TCPAddr{IP: a.Addr[:], Port: a.Port, Zone: zoneOf(a.ZoneId)}
	}
	return c.server.listener.Addr()
}

func zoneOf(index uint32) string {
	if index == 0 {
		return ""
	}
	if i, err := net.InterfaceByIndex(int(index)); err == nil {
		return i.Name
	}
	return strconv.FormatUint(uint64(index), 10)
}

func (c *eventConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

func (c *eventConn) SetDeadline(t time.Time) error {
	return c.setDeadline(t, (*net.TCPConn).SetDeadline)
}

func (c *eventConn) SetReadDeadline(t time.Time) error {
	return c.setDeadline(t, (*net.TCPConn).SetReadDeadline)
}

func (c *eventConn) SetWriteDeadline(t time.Time) error {
	return c.setDeadline(t, (*net.TCPConn).SetWriteDeadline)
}

// setDeadline has nothing to do where none was set and nothing has waited.
func (c *eventConn) setDeadline(t time.Time, set func(*net.TCPConn, time.Time) error) error {
	if t.IsZero() && c.waiting.Load() == nil {
		return nil
	}
	conn, err := c.conn()
	if err != nil {
		return err
	}
	return set(conn, t)
}

// SyscallConn implements syscall.Conn.
func (c *eventConn) SyscallConn() (syscall.RawConn, error) { return eventRawConn{c}, nil }

// ownDescriptor marks c for newSocket.
func (c *eventConn) ownDescriptor() {}

// eventRawConn is the descriptor's handle. Where f asks to wait, a conn that can goes on with it.
type eventRawConn struct{ c *eventConn }

var _ syscall.RawConn = eventRawConn{}

func (r eventRawConn) Control(f func(fd uintptr)) error {
	_, err := r.c.use(func(fd uintptr) bool { f(fd); return true })
	return err
}

func (r eventRawConn) Read(f func(fd uintptr) (done bool)) error {
	done, err := r.c.use(f)
	if done || err != nil {
		return err
	}
	raw, err := r.waiting()
	if err != nil {
		return err
	}
	return raw.Read(f)
}

func (r eventRawConn) Write(f func(fd uintptr) (done bool)) error {
	done, err := r.c.use(f)
	if done || err != nil {
		return err
	}
	raw, err := r.waiting()
	if err != nil {
		return err
	}
	return raw.Write(f)
}

func (r eventRawConn) waiting() (syscall.RawConn, error) {
	conn, err := r.c.conn()
	if err != nil {
		return nil, err
	}
	return conn.SyscallConn()
}
