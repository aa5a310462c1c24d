//go:build !linux

package libnet

import (
	"net"
	"time"
)

// Elsewhere only what a write or a read brings is known.

func (s *Session) unsent() int { return 0 }

func unreadBytes(conn net.Conn) int {
	if hasInput(conn) {
		return 1
	}
	return 0
}

func peerEnded(net.Conn) bool { return false }

func setUserTimeout(net.Conn, time.Duration) bool { return false }
