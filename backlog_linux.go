package libnet

import (
	"net"
	"sync"
	"syscall"
	"unsafe"
)

// unsent is what the kernel holds of what was written to the session's conn, or to what its TLS runs on, and the peer
// has not taken; 0 where nobody can tell (SIOCOUTQ of tcp(7) and unix(7)).
func (s *Session) unsent() int {
	if s.sock != nil {
		return queued(s.sock.raw, syscall.TIOCOUTQ)
	}
	return queued(rawConn(s.conn), syscall.TIOCOUTQ)
}

// unreadBytes is what the kernel holds for conn and nobody has read; 0 where nobody can tell (SIOCINQ).
func unreadBytes(conn net.Conn) int { return queued(rawConn(conn), syscall.TIOCINQ) }

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

func queued(raw syscall.RawConn, request uintptr) int {
	if raw == nil {
		return 0
	}
	c := queuedCalls.Get().(*queuedCall)
	defer queuedCalls.Put(c)
	c.request, c.n = request, 0
	_ = raw.Control(c.try)
	return int(c.n)
}

func (c *queuedCall) ask(fd uintptr) {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_IOCTL, fd, c.request, uintptr(unsafe.Pointer(&c.n))); errno != 0 {
		c.n = 0
	}
}
