//go:build !linux

package libnet

import "net"

// Elsewhere only what a write or a read brings is known.

func (s *Session) unsent() int { return 0 }

func unreadBytes(conn net.Conn) int {
	if hasInput(conn) {
		return 1
	}
	return 0
}

func peerEnded(net.Conn) bool { return false }
