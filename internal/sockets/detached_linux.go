package sockets

import (
	"cmp"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/libnet-go/libnet/internal/lock"
	"github.com/libnet-go/libnet/internal/sysmon"
)

// A Detached is a TCP connection whose descriptor the runtime's poller does not know, so that a message wakes one
// poller, the caller's, and not two, and a silent connection costs a number and an address. When something must wait, a
// write to a slow peer or the wait for its EOF, an [os.File] of the same descriptor does. That takes no other: a
// process that has none left goes on waiting.
type Detached struct {
	// Immutable after Attach.
	remote     netip.AddrPort
	listenAddr func() net.Addr

	fd int32 // changes only while connMoving keeps users away

	// users counts those who use fd, and has connGivenUp added once it is to be closed. The last one closes it, so
	// nobody can use its number when another connection has it. Those who wait in the owner are not counted: its Close
	// has them return.
	users atomic.Int32

	mu    lock.Mutex[connLock]  // held while fd is given up or gets another owner
	owner atomic.Pointer[owner] // nil while it is c itself; set under mu
}

const (
	connMoving   = 1 << 27 // added to users while fd is exchanged, under mu
	connGivenUp  = 1 << 28 // added when the descriptor is not to be used any more, under mu
	connReleased = 1 << 29 // added when it is closed
)

// connLock is the class of the lock in docs/locks.md.
type connLock struct{}

// An owner is who closes the descriptor of a [Detached] that something waits in, or has: a *net.TCPConn or an *os.File.
type owner struct {
	pollable
	raw syscall.RawConn
}

type pollable interface {
	io.Closer
	syscall.Conn
	SetDeadline(time.Time) error
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

var (
	_ net.Conn     = (*Detached)(nil)
	_ syscall.Conn = (*Detached)(nil)
)

// IsDetached reports whether conn came from Detach.
func IsDetached(conn net.Conn) bool {
	_, is := conn.(*Detached)
	return is
}

// Detach makes a Detached of a TCP conn, and closes that. It returns what it cannot detach. listenAddr, which may be
// asked at any time, is the local address of a connection that is closed.
func Detach(conn net.Conn, listenAddr func() net.Addr) net.Conn {
	c, ok := Attach(conn, listenAddr).(*Detached)
	if !ok || !c.letGo() {
		return conn
	}
	return c
}

// Attach is [Detach] that leaves the descriptor to the conn, and so to the runtime's poller, until [LetGo]: for who is
// to wait for the peer before. It returns what it cannot make a Detached of.
func Attach(conn net.Conn, listenAddr func() net.Addr) net.Conn {
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
	c := &Detached{remote: remote.AddrPort(), listenAddr: listenAddr}
	if raw.Control(func(fd uintptr) { c.fd = int32(fd) }) != nil {
		return conn
	}
	c.owner.Store(&owner{tcp, raw})
	return c
}

// LetGo detaches conn, or the conn below it, if that came from [Attach] or something has waited in it. Nobody waits in
// it now. It leaves alone what it cannot detach.
func LetGo(conn net.Conn) {
	if c, ok := Transport(conn).(*Detached); ok {
		c.letGo()
	}
}

// letGo reports false for a conn that stays as it is, since it is closed or descriptors are short. Closing what the
// runtime's poller knows takes another number for the socket.
func (c *Detached) letGo() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.owner.Load()
	if old == nil || !c.keepUsersAwayLocked() {
		return false
	}
	defer c.users.Add(-connMoving)
	fd, err := dupDescriptor(uintptr(c.fd))
	if err != nil {
		return false
	}
	c.fd = fd
	c.owner.Store(nil)
	_ = old.Close()
	return true
}

// keepUsersAwayLocked adds connMoving to users, once there are none: they do not wait. It gives up soon, for one of
// them may want mu.
func (c *Detached) keepUsersAwayLocked() bool {
	for range 100 {
		switch {
		case c.users.CompareAndSwap(0, connMoving):
			return true
		case c.closedLocked():
			return false
		}
		runtime.Gosched()
	}
	return false
}

func dupDescriptor(fd uintptr) (int32, error) {
	n, _, errno := syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_DUPFD_CLOEXEC, 0)
	if errno != 0 {
		return -1, os.NewSyscallError("fcntl", errno)
	}
	return int32(n), nil
}

// use calls f with the descriptor, which stays open meanwhile. It returns what f does, or net.ErrClosed.
func (c *Detached) use(f func(fd uintptr) bool) (done bool, err error) {
	for c.users.Add(1) >= connMoving {
		c.unuse()
		if c.isClosed() { // else it is being exchanged
			return false, net.ErrClosed
		}
	}
	defer c.unuse() // f may panic: a function of a TLSConfig's
	return f(uintptr(c.fd)), nil
}

func (c *Detached) unuse() {
	if c.users.Add(-1) == connGivenUp {
		c.closeDescriptor()
	}
}

// closeDescriptor is called with nobody using the descriptor, perhaps by several, of whom one closes it.
func (c *Detached) closeDescriptor() {
	if !c.users.CompareAndSwap(connGivenUp, connGivenUp+connReleased) {
		return
	}
	if owner := c.owner.Load(); owner != nil {
		_ = owner.Close()
		return
	}
	_ = syscall.Close(int(c.fd))
}

func (c *Detached) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closedLocked()
}

func (c *Detached) closedLocked() bool { return c.users.Load() >= connGivenUp }

// Close closes the connection, as net.TCPConn's does: who waits in it returns.
func (c *Detached) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closedLocked() {
		return net.ErrClosed
	}
	if c.users.Add(connGivenUp) == connGivenUp {
		c.closeDescriptor()
	}
	return nil
}

// waiter returns who can wait.
func (c *Detached) waiter() (*owner, error) {
	if w := c.owner.Load(); w != nil {
		return w, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.owner.Load(); w != nil {
		return w, nil
	}
	if c.closedLocked() {
		return nil, net.ErrClosed
	}
	unblock(uintptr(c.fd)) // else os.NewFile would not have the runtime's poller wait
	file := os.NewFile(uintptr(c.fd), "tcp")
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	w := &owner{file, raw}
	c.owner.Store(w)
	return w, nil
}

// wait calls f, until it is done, whenever the descriptor is ready.
func (c *Detached) wait(f func(fd uintptr) (done bool), whenReady func(syscall.RawConn, func(fd uintptr) bool) error) error {
	if done, err := c.use(f); done || err != nil {
		return err
	}
	w, err := c.waiter()
	if err != nil {
		return err
	}
	err = whenReady(w.raw, f)
	sysmon.AfterWait()
	return c.closedOr(err)
}

// closedOr gives an owner that was closed the error that a conn has.
func (c *Detached) closedOr(err error) error {
	if err != nil && c.isClosed() {
		return net.ErrClosed
	}
	return err
}

// Read waits; the poller reads through the descriptor.
func (c *Detached) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	var failed error
	err = c.wait(func(fd uintptr) bool {
		for n, failed = receiveNow(int(fd), p); failed == syscall.EINTR; {
			n, failed = receiveNow(int(fd), p)
		}
		if n > 0 {
			raceReceive(int(fd), p[:n])
		}
		return failed != syscall.EAGAIN
	}, syscall.RawConn.Read)
	switch {
	case err != nil:
		return 0, err
	case failed != nil:
		return 0, os.NewSyscallError("read", failed)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

func (c *Detached) Write(p []byte) (int, error) {
	call := writeCall{out: p}
	err := c.wait(func(fd uintptr) bool {
		call.tryWrite(fd)
		return call.err != nil || call.n == len(p)
	}, syscall.RawConn.Write)
	if err == nil {
		err = os.NewSyscallError("write", call.err)
	}
	return call.n, err
}

func (c *Detached) CloseWrite() (err error) {
	_, closed := c.use(func(fd uintptr) bool {
		err = os.NewSyscallError("shutdown", syscall.Shutdown(int(fd), syscall.SHUT_WR))
		return true
	})
	return cmp.Or(closed, err)
}

// LocalAddr is the socket's, and the listener's once the socket is closed.
func (c *Detached) LocalAddr() net.Addr {
	var local syscall.Sockaddr
	_, _ = c.use(func(fd uintptr) bool { local, _ = syscall.Getsockname(int(fd)); return true })
	switch a := local.(type) {
	case *syscall.SockaddrInet4:
		return &net.TCPAddr{IP: a.Addr[:], Port: a.Port}
	case *syscall.SockaddrInet6:
		return &net.TCPAddr{IP: a.Addr[:], Port: a.Port, Zone: zoneOf(a.ZoneId)}
	}
	return c.listenAddr()
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

func (c *Detached) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

func (c *Detached) SetDeadline(t time.Time) error {
	return c.setDeadline(t, pollable.SetDeadline)
}

func (c *Detached) SetReadDeadline(t time.Time) error {
	return c.setDeadline(t, pollable.SetReadDeadline)
}

func (c *Detached) SetWriteDeadline(t time.Time) error {
	return c.setDeadline(t, pollable.SetWriteDeadline)
}

// setDeadline has nothing to do where none was set and nothing has waited.
func (c *Detached) setDeadline(t time.Time, set func(pollable, time.Time) error) error {
	if t.IsZero() && c.owner.Load() == nil {
		return nil
	}
	w, err := c.waiter()
	if err != nil {
		return err
	}
	return c.closedOr(set(w.pollable, t))
}

// SyscallConn implements syscall.Conn.
func (c *Detached) SyscallConn() (syscall.RawConn, error) { return detachedRawConn{c}, nil }

// ownDescriptor marks c for Of.
func (c *Detached) ownDescriptor() {}

// detachedRawConn is the handle of the descriptor.
type detachedRawConn struct{ c *Detached }

var _ syscall.RawConn = detachedRawConn{}

func (r detachedRawConn) Control(f func(fd uintptr)) error {
	_, err := r.c.use(func(fd uintptr) bool { f(fd); return true })
	return err
}

func (r detachedRawConn) Read(f func(fd uintptr) (done bool)) error {
	return r.c.wait(f, syscall.RawConn.Read)
}

func (r detachedRawConn) Write(f func(fd uintptr) (done bool)) error {
	return r.c.wait(f, syscall.RawConn.Write)
}
