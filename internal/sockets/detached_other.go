//go:build !linux

package sockets

import "net"

// IsDetached is false: elsewhere nothing detaches a connection.
func IsDetached(net.Conn) bool { return false }
