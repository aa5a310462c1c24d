package libnet

import "crypto/tls"

// TLS returns the state of the session's TLS connection, in which the peer's certificates are, and whether
// there is one. It completes the handshake first, so call it where waiting is allowed: in a handler, in
// OnSession under [Server.Serve]. It is false, too, when the handshake fails; Receive then says why.
func (s *Session) TLS() (tls.ConnectionState, bool) {
	conn, ok := s.conn.(interface{ ConnectionState() tls.ConnectionState })
	if !ok {
		return tls.ConnectionState{}, false
	}
	if h, ok := s.conn.(interface{ Handshake() error }); ok && h.Handshake() != nil {
		return tls.ConnectionState{}, false
	}
	state := conn.ConnectionState()
	return state, state.HandshakeComplete
}
