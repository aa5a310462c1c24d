package sockets

import "net"

// Listen is net.Listen for networks that a session can run over.
func Listen(network, address string) (net.Listener, error) {
	switch network {
	case "unixpacket":
		return nil, &net.OpError{Op: "listen", Net: network, Err: ErrNotAStream}
	case "unix":
		return listenUnix(address)
	}
	return net.Listen(network, address)
}

// Wrap returns what a server accepts from instead of a listener of the user's.
func Wrap(l net.Listener) net.Listener {
	u, ok := l.(*net.UnixListener)
	if !ok || u == nil {
		return l
	}
	if u.Addr().Network() == "unixpacket" {
		return PacketListener{l}
	}
	return newUnixListener(u, false)
}

// Unwrap returns the listener of the user's that l was made of, or l.
func Unwrap(l net.Listener) net.Listener {
	switch l := l.(type) {
	case PacketListener:
		return l.Listener
	case *UnixListener:
		return l.UnixListener
	}
	return l
}

// A PacketListener accepts nothing: it is of a network of messages.
type PacketListener struct{ net.Listener }

func (l PacketListener) Accept() (net.Conn, error) {
	return nil, &net.OpError{Op: "accept", Net: l.Addr().Network(), Addr: l.Addr(), Err: ErrNotAStream}
}
