package sockets

import "net"

// Shared is what the connections that one server detaches share.
type Shared struct {
	Options
	ListenAddr func() net.Addr // the local address of those whose socket is closed
}
