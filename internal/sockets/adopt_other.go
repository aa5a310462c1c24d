//go:build !linux

package sockets

import (
	"errors"
	"net"
	"net/netip"
)

// Adopt is Linux's.
func Adopt(int, netip.AddrPort, func() net.Addr) (net.Conn, error) { return nil, errors.ErrUnsupported }
