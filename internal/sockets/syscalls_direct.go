//go:build linux && !386 && !s390x

package sockets

import (
	"syscall"
	"unsafe"
)

// receiveNow and sendNow are raw system calls, of which the scheduler is not told: they return in microseconds, and
// giving the processor up and getting it back costs a tenth of a small message, and more with few connections (measured
// on the ping-pong rows of bench/).
//
// MSG_DONTWAIT is why they return. The descriptor's own non-blocking mode belongs to all its duplicates, and
// os.File.Fd takes it away from all of them; a call that then waited would hold the processor, and with the next
// garbage collection the whole process, for as long as the peer is silent.

func receiveNow(fd int, p []byte) (int, error) {
	return transferNow(syscall.SYS_RECVFROM, fd, p, syscall.MSG_DONTWAIT)
}

func sendNow(fd int, p []byte) (int, error) {
	return transferNow(syscall.SYS_SENDTO, fd, p, syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL)
}

func transferNow(call uintptr, fd int, p []byte, flags uintptr) (int, error) {
	n, _, errno := syscall.RawSyscall6(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}
