package sockets

import (
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// Unsent is what the kernel holds of what was written to raw and the peer has not taken; 0 where nobody can tell
// (SIOCOUTQ of tcp(7) and unix(7)).
func Unsent(raw syscall.RawConn) int { return queued(raw, syscall.TIOCOUTQ) }

// Unread is what the kernel holds for raw and nobody has read; 0 where nobody can tell (SIOCINQ).
func Unread(raw syscall.RawConn) int { return queued(raw, syscall.TIOCINQ) }

// A queuedCall is to an ioctl what a readCall is to a read.
type queuedCall struct {
	request uintptr
	n       int32

	try func(fd uintptr)
}

var queuedCalls = sync.Pool{New: func() any {
	c := new(queuedCall)
	c.try = c.ask
	return c
}}

func queued(raw syscall.RawConn, request uintptr) (n int) {
	if raw == nil {
		return 0
	}
	c := queuedCalls.Get().(*queuedCall)
	c.request, c.n = request, 0
	_ = raw.Control(c.try)
	n = int(c.n)
	queuedCalls.Put(c)
	return n
}

func (c *queuedCall) ask(fd uintptr) {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_IOCTL, fd, c.request, uintptr(unsafe.Pointer(&c.n))); errno != 0 {
		c.n = 0
	}
}

// Of poll.h, which package syscall lacks.
const (
	pollRDHUP = 0x2000
	pollErr   = 0x8
	pollHup   = 0x10
)

// pollFd is struct pollfd (poll(2)).
type pollFd struct {
	fd              int32
	events, revents int16
}

// PeerEnded reports whether the peer sends no more. It does not wait.
func PeerEnded(raw syscall.RawConn) (ended bool) {
	if raw == nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		p := pollFd{fd: int32(fd), events: pollRDHUP}
		var now syscall.Timespec
		n, _, errno := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
		ended = errno == 0 && n == 1 && p.revents&(pollRDHUP|pollErr|pollHup) != 0
	})
	return ended
}

// SetUserTimeout sets how long sent data may stay unacknowledged before the kernel ends the connection; 0 leaves that
// to its retransmissions. False says that this is no TCP.
func SetUserTimeout(raw syscall.RawConn, d time.Duration) (ok bool) {
	if raw == nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		ok = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(min(d, maxUserTimeout).Milliseconds())) == nil
	})
	return ok
}
