package sockets

import (
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/libnet-go/libnet/internal/errchain"
)

// A UnixListener looks after the file of a Unix socket. Package net removes the path when the listener is closed, also
// where another server has bound it again meanwhile or has got the listener handed over.
type UnixListener struct {
	*net.UnixListener
	path  string
	bound os.FileInfo // nil for a socket without a file
	ours  bool        // made by listenUnix: package net does not remove the path
	left  atomic.Bool // another process listens on the same socket
}

func newUnixListener(l *net.UnixListener, ours bool) *UnixListener {
	u := &UnixListener{UnixListener: l, ours: ours}
	if path, err := filepath.Abs(l.Addr().String()); err == nil && !isAbstract(l.Addr().String()) {
		u.path = path
		u.bound, _ = os.Lstat(path)
	}
	if ours && u.bound != nil {
		l.SetUnlinkOnClose(false)
	}
	return u
}

// isAbstract holds for the names of sockets that have no file (unix(7)), also that of one without a name.
func isAbstract(address string) bool { return address == "" || address[0] == '@' || address[0] == 0 }

// listenUnix takes the place of a server that has ended without removing its socket.
func listenUnix(address string) (net.Listener, error) {
	if isAbstract(address) {
		return net.Listen("unix", address)
	}
	unlock, locked := lockDirectory(filepath.Dir(address))
	defer unlock()
	l, err := net.Listen("unix", address)
	if errchain.Is(err, syscall.EADDRINUSE) && locked && isStale(address) && os.Remove(address) == nil {
		l, err = net.Listen("unix", address)
	}
	if err != nil {
		return nil, err
	}
	return newUnixListener(l.(*net.UnixListener), true), nil
}

// isStale reports whether path is a socket that nobody listens on.
func isStale(path string) bool {
	before, err := os.Lstat(path)
	if err != nil || before.Mode().Type() != os.ModeSocket {
		return false
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = conn.Close()
		return false
	}
	now, statErr := os.Lstat(path)
	return errchain.Is(err, syscall.ECONNREFUSED) && statErr == nil && os.SameFile(before, now)
}

// Leave closes the listener and leaves its path to another process, which has it, too.
func (l *UnixListener) Leave() {
	l.left.Store(true)
	l.SetUnlinkOnClose(false)
	_ = l.UnixListener.Close()
}

// LeaveListener closes a listener, and leaves a Unix socket's path alone.
func LeaveListener(l net.Listener) {
	if u, ok := l.(*UnixListener); ok {
		u.Leave()
		return
	}
	_ = l.Close()
}

// Ours reports whether Close removes the path.
func (l *UnixListener) Ours() bool { return l.ours }

// Taken is the listener of a socket that another process has left; with ours, Close removes the path.
func Taken(l net.Listener, ours bool) net.Listener {
	if u, ok := l.(*net.UnixListener); ok {
		return newUnixListener(u, ours)
	}
	return l
}

// Close removes the path if it is still this listener's and nobody else answers there.
func (l *UnixListener) Close() error {
	if l.bound == nil || l.left.Load() {
		return l.UnixListener.Close()
	}
	unlock, _ := lockDirectory(filepath.Dir(l.path))
	defer unlock()
	now, err := os.Lstat(l.path)
	same := err == nil && os.SameFile(now, l.bound)
	if !same {
		l.SetUnlinkOnClose(false)
	}
	err = l.UnixListener.Close()
	if l.ours && same && isStale(l.path) {
		_ = os.Remove(l.path)
	}
	return err
}

const (
	lockPatience = time.Second
	lockPeriod   = 5 * time.Millisecond
)

// lockDirectory keeps others who look for a stale socket in dir from it until unlock is called: of two that find the
// same one, the second would remove what the first has just bound. It does not wait for ever, since a lock of a
// directory may be held for other reasons.
func lockDirectory(dir string) (unlock func(), locked bool) {
	if !canLock {
		return func() {}, false
	}
	f, err := os.Open(dir)
	if err != nil {
		return func() {}, false
	}
	for end := time.Now().Add(lockPatience); ; time.Sleep(lockPeriod) {
		if locked = tryLock(f); locked || time.Now().After(end) {
			return func() { _ = f.Close() }, locked
		}
	}
}
