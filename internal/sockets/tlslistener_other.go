//go:build !unix

package sockets

import "net"

func forHTTP(conn net.Conn) net.Conn { return conn }

// FromHTTP returns conn.
func FromHTTP(conn net.Conn) net.Conn { return conn }
