//go:build unix

package libnet

import (
	"io"
	"net"
	"syscall"
)

// A socket reads and writes the descriptor of a TCP or Unix conn without waiting, so that a session
// holds no storage while its peer is silent and no writer hangs on a peer that does not read. The
// waiting is the runtime poller's.
type socket struct {
	raw syscall.RawConn

	// Owned by the receiver.
	in       *input
	n        int
	readErr  error
	readable func(fd uintptr) bool // tryRead, bound once

	// Owned by whoever flushes.
	out      []byte
	wrote    int
	writeErr error
	writable func(fd uintptr) bool // tryWrite, bound once
}

// newSocket returns nil for a conn whose own Read and Write must be used: a wrapper may embed a
// *net.TCPConn and yet mean something else by them.
func newSocket(conn net.Conn) *socket {
	var sc syscall.Conn
	switch c := conn.(type) {
	case *net.TCPConn:
		sc = c
	case *net.UnixConn:
		sc = c
	default:
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	k := &socket{raw: raw}
	k.readable = k.tryRead
	k.writable = k.tryWrite
	return k
}

// read waits until there is something to read and reads once. It shrinks in while it waits.
func (k *socket) read(in *input) (int, error) {
	k.in = in
	if err := k.raw.Read(k.readable); err != nil {
		return 0, err
	}
	return k.n, k.readErr
}

// tryRead is the body of read: false says that the poller should wait.
func (k *socket) tryRead(fd uintptr) bool {
	p := k.in.room()
	for {
		n, err := syscall.Read(int(fd), p)
		switch {
		case n > 0:
			k.n, k.readErr = n, nil
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			k.in.shrink()
			return false
		case err != nil:
			k.n, k.readErr = 0, err
		default:
			k.n, k.readErr = 0, io.EOF
		}
		return true
	}
}

// write writes what the kernel takes at once. n < len(p) without an error says that it is full.
func (k *socket) write(p []byte) (n int, err error) {
	k.out, k.wrote, k.writeErr = p, 0, nil
	err = k.raw.Write(k.writable)
	k.out = nil
	if err != nil {
		return 0, err
	}
	return k.wrote, k.writeErr
}

// tryWrite is the body of write. It never asks the poller to wait.
func (k *socket) tryWrite(fd uintptr) bool {
	for k.wrote < len(k.out) {
		n, err := syscall.Write(int(fd), k.out[k.wrote:])
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return true
		case err != nil:
			k.writeErr = err
			return true
		default:
			k.wrote += n
		}
	}
	return true
}

// hasInput reports whether something lies in conn's receive buffer. It does not take it.
func hasInput(conn net.Conn) bool {
	raw := rawConn(conn)
	if raw == nil {
		return false
	}
	pending := false
	_ = raw.Control(func(fd uintptr) {
		var one [1]byte
		n, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		pending = err == nil && n > 0
	})
	return pending
}
