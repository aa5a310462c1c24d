package sockets

import (
	"crypto/tls"
	"net"
	"runtime"
	"slices"
)

// A TLSListener accepts conns for an HTTP server. They secure themselves when they are first used, and can become those
// of a session: see [FromHTTP].
type TLSListener struct {
	net.Listener
	config *tls.Config
	slots  Slots
}

// slotsPerProcessor is how many handshakes of one listener compute at a time, for each processor.
const slotsPerProcessor = 4

// HandshakeSlots returns those of one listener.
func HandshakeSlots() Slots { return NewSlots(slotsPerProcessor * runtime.GOMAXPROCS(0)) }

// ListenTLS returns a listener of l's conns. They do not offer HTTP/2, which needs the conns of crypto/tls.
func ListenTLS(l net.Listener, config *tls.Config) *TLSListener {
	return &TLSListener{
		Listener: l,
		config:   GuardKeyLog(withoutHTTP2(config)),
		slots:    HandshakeSlots(),
	}
}

// Accept does not wait for a handshake.
func (l *TLSListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return forHTTP(Secure(conn, l.config, l.Addr, l.slots)), nil
}

const http1, http2 = "http/1.1", "h2"

// withoutHTTP2 returns a config that offers HTTP/1.1 alone, also where a connection has one of its own. A config that
// offers nothing else stays as it is, and with it the keys of its session tickets.
func withoutHTTP2(config *tls.Config) *tls.Config {
	if slices.Contains(config.NextProtos, http2) || !slices.Contains(config.NextProtos, http1) {
		config = config.Clone()
		config.NextProtos = append(slices.DeleteFunc(slices.Clone(config.NextProtos), isHTTP), http1)
	}
	choose := config.GetConfigForClient
	if choose == nil {
		return config
	}
	config = config.Clone()
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		chosen, err := choose(hello)
		if chosen == nil || err != nil {
			return chosen, err
		}
		return withoutHTTP2(chosen), nil
	}
	return config
}

func isHTTP(protocol string) bool { return protocol == http1 || protocol == http2 }
