//go:build !linux

package sockets

import (
	"net"
	"syscall"
	"time"
)

// Elsewhere only what a write or a read brings is known.

func Unsent(syscall.RawConn) int { return 0 }

func Unread(conn net.Conn) int {
	if HasInput(conn) {
		return 1
	}
	return 0
}

func PeerEnded(net.Conn) bool { return false }

func SetUserTimeout(net.Conn, time.Duration) bool { return false }
