package sockets

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/libnet-go/libnet/internal/lock"
)

// A Detached is a TCP connection whose descriptor the runtime's poller does not know, so that a message wakes one
// poller, the caller's, and not two, and a silent connection costs a number and an address. When something must wait, a
// write to a slow peer or the wait for its EOF, a conn of package net takes the descriptor's place.
type Detached struct {
	// Immutable after Attach: the last, where there are two.
	remote netip.AddrPort
	shared *Shared

	fd int32 // until users is below connGivenUp, letGo's

	// users counts those who use fd, and has connGivenUp added once it is to be closed. The last one closes
	// it, so nobody can use its number when another connection has it.
	users atomic.Int32

	mu      lock.Mutex[connLock]        // held while fd is given up
	waiting atomic.Pointer[waitingConn] // nil while there is fd; set under mu
}

const (
	connGivenUp  = 1 << 28 // added to users when the descriptor is not to be used any more
	connReleased = 1 << 29 // added when it is closed
)

// connLock is the class of the lock in docs/locks.md.
type connLock struct{}

var (
	_ net.Conn     = (*Detached)(nil)
	_ syscall.Conn = (*Detached)(nil)
)

// IsDetached reports whether conn came from Detach.
func IsDetached(conn net.Conn) bool {
	_, is := conn.(*Detached)
	return is
}

// Detach makes a Detached of a TCP conn, and closes that. It returns what it cannot detach.
func Detach(conn net.Conn, shared *Shared) net.Conn {
	c, ok := Attach(conn, shared).(*Detached)
	if !ok || !c.letGo() {
		return conn
	}
	return c
}

// Attach is [Detach] that leaves the descriptor to the conn, and so to the runtime's poller, until [LetGo]: for who is to wait for
// the peer before. It returns what it cannot make a Detached of. A conn of [Secure], which nobody uses yet, it gives to another server.
func Attach(conn net.Conn, shared *Shared) net.Conn {
	if c, ok := conn.(*Secured); ok {
		if below, ok := c.below.(*Detached); ok {
			below.shared = shared
		}
		return conn
	}
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
	c := &Detached{remote: remote.AddrPort(), shared: shared, fd: -1}
	c.users.Store(connGivenUp + connReleased)
	c.waiting.Store(&waitingConn{TCPConn: tcp, raw: raw})
	return c
}

// LetGo detaches conn, or the conn below it, if that came from [Attach] or something has waited in it. Nobody waits in it now. It
// leaves alone what it cannot detach.
func LetGo(conn net.Conn) {
	if c, ok := Transport(conn).(*Detached); ok {
		c.letGo()
	}
}

// letGo reports false for a conn that stays as it is, since it is closed or descriptors are short.
func (c *Detached) letGo() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.waiting.Load()
	if w == nil || w.err != nil {
		return false
	}
	fd, dupErr := int32(-1), error(nil)
	err := w.raw.Control(func(old uintptr) { fd, dupErr = dupDescriptor(old) })
	if err != nil || dupErr != nil {
		return false
	}
	c.fd = fd
	c.users.Add(-(connGivenUp + connReleased))
	c.waiting.Store(nil)
	_ = w.TCPConn.Close() // takes the socket out of the runtime's poller and leaves it to fd
	return true
}

func dupDescriptor(fd uintptr) (int32, error) {
	n, _, errno := syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_DUPFD_CLOEXEC, 0)
	if errno != 0 {
		return -1, os.NewSyscallError("fcntl", errno)
	}
	return int32(n), nil
}

// use calls f with the descriptor, which stays open meanwhile; not ok says that it has been given up.
func (c *Detached) use(f func(fd uintptr) bool) (done, ok bool) {
	if ok = c.users.Add(1) < connGivenUp; ok {
		done = f(uintptr(c.fd))
	}
	if c.users.Add(-1) == connGivenUp {
		c.closeDescriptor()
	}
	return done, ok
}

// giveUpLocked has w take the descriptor's place, which is closed as soon as nobody uses it.
func (c *Detached) giveUpLocked(w *waitingConn) {
	c.waiting.Store(w)
	c.users.Add(connGivenUp)
	c.closeDescriptor()
}

func (c *Detached) closeDescriptor() {
	if c.users.CompareAndSwap(connGivenUp, connGivenUp+connReleased) {
		_ = syscall.Close(int(c.fd))
	}
}

// Close closes the connection, as net.TCPConn's does: who waits in it returns.
func (c *Detached) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch w := c.waiting.Load(); {
	case w == nil:
		c.giveUpLocked(noConn)
		return nil
	case w.err != nil:
		return w.err
	default:
		return w.Close()
	}
}

// A waitingConn is a conn of package net with its descriptor's handle.
type waitingConn struct {
	*net.TCPConn
	raw syscall.RawConn
	err error
}

// noConn takes the place of a descriptor that was closed.
var noConn = &waitingConn{err: net.ErrClosed}

// Back-off of who waits for a free descriptor.
const (
	firstBackoff = 5 * time.Millisecond
	lastBackoff  = time.Second
)

// conn returns the conn that can wait. Making it takes two descriptors for a moment; where the process has
// none left it waits for one, since others who do the same give theirs back.
func (c *Detached) conn() (*waitingConn, error) {
	for backoff := firstBackoff; ; backoff *= 2 {
		w, err := c.tryConn()
		full := errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
		if !full || backoff > lastBackoff {
			return w, err
		}
		time.Sleep(backoff)
	}
}

// tryConn exchanges the descriptor for a conn: of two, a process would run out when all its sessions shut
// down. The epoll registration stays: it belongs to the open file description, which the duplicate shares.
func (c *Detached) tryConn() (*waitingConn, error) {
	if w := c.waiting.Load(); w != nil {
		return w, w.err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.waiting.Load(); w != nil {
		return w, w.err
	}
	tcp, err := newTCPConn(uintptr(c.fd))
	if err != nil {
		return nil, err
	}
	w := &waitingConn{TCPConn: tcp}
	w.raw, err = tcp.SyscallConn()
	if timeout := c.shared.PeerTimeout; err == nil && timeout > 0 {
		// Package net has set its own. The session's other options stay as they are.
		err = w.raw.Control(func(fd uintptr) { _ = setKeepAlive(int(fd), timeout) })
	}
	if err != nil {
		_ = tcp.Close()
		return nil, err
	}
	c.giveUpLocked(w)
	return w, nil
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
func (c *Detached) Read(p []byte) (int, error) {
	conn, err := c.conn()
	if err != nil {
		return 0, err
	}
	return conn.Read(p)
}

func (c *Detached) Write(p []byte) (int, error) {
	conn, err := c.conn()
	if err != nil {
		return 0, err
	}
	return conn.Write(p)
}

func (c *Detached) CloseWrite() (err error) {
	controlErr := detachedRawConn{c}.Control(func(fd uintptr) {
		err = os.NewSyscallError("shutdown", syscall.Shutdown(int(fd), syscall.SHUT_WR))
	})
	return errors.Join(controlErr, err)
}

// LocalAddr is the socket's, and the listener's once the socket is closed.
func (c *Detached) LocalAddr() net.Addr {
	var local syscall.Sockaddr
	_ = detachedRawConn{c}.Control(func(fd uintptr) { local, _ = syscall.Getsockname(int(fd)) })
	switch a := local.(type) {
	case *syscall.SockaddrInet4:
		return &net.TCPAddr{IP: a.Addr[:], Port: a.Port}
	case *syscall.SockaddrInet6:
		return &net.TCPAddr{IP: a.Addr[:], Port: a.Port, Zone: zoneOf(a.ZoneId)}
	}
	return c.shared.ListenAddr()
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
	return c.setDeadline(t, (*net.TCPConn).SetDeadline)
}

func (c *Detached) SetReadDeadline(t time.Time) error {
	return c.setDeadline(t, (*net.TCPConn).SetReadDeadline)
}

func (c *Detached) SetWriteDeadline(t time.Time) error {
	return c.setDeadline(t, (*net.TCPConn).SetWriteDeadline)
}

// setDeadline has nothing to do where none was set and nothing has waited.
func (c *Detached) setDeadline(t time.Time, set func(*net.TCPConn, time.Time) error) error {
	if t.IsZero() && c.waiting.Load() == nil {
		return nil
	}
	conn, err := c.conn()
	if err != nil {
		return err
	}
	return set(conn.TCPConn, t)
}

// SyscallConn implements syscall.Conn.
func (c *Detached) SyscallConn() (syscall.RawConn, error) { return detachedRawConn{c}, nil }

// ownDescriptor marks c for Of.
func (c *Detached) ownDescriptor() {}

// detachedRawConn is the handle of the descriptor, or of the conn that took its place. Where f asks to wait, that
// conn goes on with it.
type detachedRawConn struct{ c *Detached }

var _ syscall.RawConn = detachedRawConn{}

func (r detachedRawConn) Control(f func(fd uintptr)) error {
	for {
		_, ok := r.c.use(func(fd uintptr) bool { f(fd); return true })
		if ok {
			return nil
		}
		w := r.c.waiting.Load()
		switch {
		case w == nil: // let go meanwhile
		case w.err != nil:
			return w.err
		default:
			err := w.raw.Control(f)
			if err == nil || r.c.waiting.Load() == w {
				return err
			}
		}
	}
}

func (r detachedRawConn) Read(f func(fd uintptr) (done bool)) error {
	if done, _ := r.c.use(f); done {
		return nil
	}
	w, err := r.c.conn()
	if err != nil {
		return err
	}
	return w.raw.Read(f)
}

func (r detachedRawConn) Write(f func(fd uintptr) (done bool)) error {
	if done, _ := r.c.use(f); done {
		return nil
	}
	w, err := r.c.conn()
	if err != nil {
		return err
	}
	return w.raw.Write(f)
}
