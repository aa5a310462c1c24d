// Package limit bounds what clients of one address can take from all others: connections of an HTTP server, and how
// often they do something.
//
//	server.ConnState = limit.HTTP(10_000, 1_000)
//
//	logins := limit.NewRates(100)
//	if !logins.Allow(session.RemoteAddr()) { ... }
//
// An address is one of IPv4, or a /64 network of IPv6, which is what one customer has.
package limit

import (
	"net"
	"net/netip"
)

// networkBits is how much of an IPv6 address tells customers apart.
const networkBits = 64

// who is the address that a connection counts for; the zero value for one that has none.
func who(addr net.Addr) netip.Addr {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip := tcp.AddrPort().Addr().Unmap()
	if ip.Is4() {
		return ip
	}
	network, err := ip.Prefix(networkBits)
	if err != nil {
		return netip.Addr{}
	}
	return network.Addr()
}
