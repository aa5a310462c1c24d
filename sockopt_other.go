//go:build !linux

package libnet

import (
	"net"
	"time"
)

// Only Linux has TCP_USER_TIMEOUT; elsewhere keepalive alone finds a vanished peer.
func setUserTimeout(*net.TCPConn, time.Duration) error { return nil }
