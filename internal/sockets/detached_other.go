//go:build !linux

package sockets

import "net"

// Detach returns conn: elsewhere than on Linux nothing is detached.
func Detach(conn net.Conn, _ func() net.Addr) net.Conn { return conn }

// IsDetached reports whether conn came from Detach.
func IsDetached(net.Conn) bool { return false }

// Attach returns conn, for the same reason.
func Attach(conn net.Conn, _ func() net.Addr) net.Conn { return conn }

// LetGo does nothing.
func LetGo(net.Conn) {}
