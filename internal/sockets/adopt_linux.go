package sockets

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
)

// Adopt makes a conn of a connection's descriptor that came from another process, and has it in any case. Without an
// address it is a Unix socket's.
func Adopt(fd int, remote netip.AddrPort, listenAddr func() net.Addr) (net.Conn, error) {
	unblock(uintptr(fd))
	if kind, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_TYPE); err != nil || kind != syscall.SOCK_STREAM {
		_ = syscall.Close(fd)
		return nil, errors.Join(ErrNotAStream, err)
	}
	if remote.IsValid() {
		return &Detached{remote: remote, listenAddr: listenAddr, fd: int32(fd)}, nil
	}
	file := os.NewFile(uintptr(fd), "unix")
	defer file.Close()
	return net.FileConn(file) // a duplicate
}
