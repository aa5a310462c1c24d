//go:build !linux

package libnet

import "net"

func takeOver(conn net.Conn, _ *Server) net.Conn { return conn }

func isTakenOver(net.Conn) bool { return false }
