//go:build unix

package sockets

import "syscall"

// mostDiscarded is how many bytes Discard reads at the most, so that it returns though a peer goes on sending.
const mostDiscarded = 1 << 20

// Discard reads and drops what has arrived. It reports whether nothing more can: the peer has ended, or the socket is
// closed. It does not wait.
func Discard(raw syscall.RawConn) (ended bool) {
	err := raw.Control(func(fd uintptr) { ended = discard(int(fd)) })
	return ended || err != nil
}

func discard(fd int) (ended bool) {
	room := make([]byte, 8<<10)
	for total := 0; total < mostDiscarded; {
		n, _, err := syscall.Recvfrom(fd, room, syscall.MSG_DONTWAIT)
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return false
		case err != nil || n == 0:
			return true
		default:
			total += n
		}
	}
	return false
}
