//go:build unix && (!linux || 386 || s390x)

package sockets

import "syscall"

// Where these have no system call of their own, or only the C library may make one, package syscall's are used, which
// tell the scheduler. They must not wait there either: a conn cannot be closed while one does.

func receiveNow(fd int, p []byte) (int, error) {
	n, _, err := syscall.Recvfrom(fd, p, syscall.MSG_DONTWAIT)
	return n, err
}

func sendNow(fd int, p []byte) (int, error) {
	return syscall.SendmsgN(fd, p, nil, nil, syscall.MSG_DONTWAIT)
}
