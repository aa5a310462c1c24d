//go:build !unix

package sockets

import "syscall"

// Winsock's numbers for a full table, no buffers, and a connection that was gone before it was accepted.
const (
	wsaeMFile       syscall.Errno = 10024
	wsaeNetDown     syscall.Errno = 10050
	wsaeConnAborted syscall.Errno = 10053
	wsaeConnReset   syscall.Errno = 10054
	wsaeNoBufs      syscall.Errno = 10055
)

func isTransient(errno syscall.Errno) bool {
	switch errno {
	case wsaeMFile, wsaeNetDown, wsaeConnAborted, wsaeConnReset, wsaeNoBufs:
		return true
	}
	return false
}
