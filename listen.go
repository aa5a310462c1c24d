package libnet

import "net"

// listen is net.Listen for networks that a session can run over.
func listen(network, address string) (net.Listener, error) {
	switch network {
	case "unixpacket":
		return nil, &net.OpError{Op: "listen", Net: network, Err: errNotAStream}
	case "unix":
		return listenUnix(address)
	}
	return net.Listen(network, address)
}

// ownListener returns what a server accepts from in the place of a listener of the user's.
func ownListener(l net.Listener) net.Listener {
	u, ok := l.(*net.UnixListener)
	if !ok || u == nil {
		return l
	}
	if u.Addr().Network() == "unixpacket" {
		return packetListener{l}
	}
	return newUnixListener(u, false)
}

// usersListener is the other way round.
func usersListener(l net.Listener) net.Listener {
	switch l := l.(type) {
	case packetListener:
		return l.Listener
	case *unixListener:
		return l.UnixListener
	}
	return l
}

// A packetListener accepts nothing.
type packetListener struct{ net.Listener }

func (l packetListener) Accept() (net.Conn, error) {
	return nil, &net.OpError{Op: "accept", Net: l.Addr().Network(), Addr: l.Addr(), Err: errNotAStream}
}
