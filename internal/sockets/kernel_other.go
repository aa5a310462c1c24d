//go:build !linux

package sockets

import (
	"syscall"
	"time"
)

// Elsewhere only what a write or a read brings is known.

func Unsent(syscall.RawConn) int { return 0 }

func Unread(raw syscall.RawConn) int {
	if HasInput(raw) {
		return 1
	}
	return 0
}

func PeerEnded(syscall.RawConn) bool { return false }

func SetUserTimeout(syscall.RawConn, time.Duration) bool { return false }

func RTT(syscall.RawConn) time.Duration { return 0 }
