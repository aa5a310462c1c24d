package libnet

import (
	"syscall"
	"unsafe"
)

// readNow, writeNow and pollNow are the system calls without the scheduler's leave: on a non-blocking descriptor
// they return in microseconds, and giving the processor up and getting it back costs a tenth of a small
// message, and more with few connections (measured on the ping-pong rows of bench/).

func readNow(fd int, p []byte) (int, error) {
	return ioNow(syscall.SYS_READ, fd, p)
}

func writeNow(fd int, p []byte) (int, error) {
	return ioNow(syscall.SYS_WRITE, fd, p)
}

// pollNow is epoll_wait that does not wait.
func pollNow(epfd int, events []syscall.EpollEvent) (int, error) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(epfd), uintptr(unsafe.Pointer(unsafe.SliceData(events))),
		uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

func ioNow(call uintptr, fd int, p []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}
