package sockets

import "net"

// Shared is what the connections that one server detaches share.
type Shared struct {
	Options
	ListenAddr func() net.Addr // the local address of those whose socket is closed

	// KeepAttached leaves a conn of Secure to package net beyond the handshake, for who waits in it next, until LetGo.
	KeepAttached bool
}
