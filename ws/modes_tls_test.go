//go:debug x509usefallbackroots=1
package ws_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"testing"

	"github.com/libnet-go/libnet/internal/testkit"
)

// layer is what the servers that start makes have below WebSocket; nil is none. Only TestTheSuitesOverTLS changes it.
var layer *tls.Config

// Clients that are told of no roots trust the certificate of these tests and no other: so they need not know of the
// layer.
func init() {
	roots := x509.NewCertPool()
	roots.AddCert(testkit.Certificate().Leaf)
	x509.SetFallbackRoots(roots)
}

// What holds for WebSockets holds over TLS: behind net/http on a ws.TLSListener, and on the server's own listener.
func TestTheSuitesOverTLS(t *testing.T) {
	testkit.Slow(t)
	layer = testkit.ServerTLS()
	defer func() { layer = nil }()
	inModes(t, allModes, suite)
}

// eachOwnListener runs test for servers that serve WebSockets themselves, without TLS and with it.
func eachOwnListener(t *testing.T, test func(t *testing.T)) {
	eachProtocolMode(t, test)
	t.Run("TLS", func(t *testing.T) {
		layer = testkit.ServerTLS()
		defer func() { layer = nil }()
		eachProtocolMode(t, test)
	})
}

// below is the connection that a client's runs on.
func below(conn net.Conn) *net.TCPConn {
	if secured, ok := conn.(*tls.Conn); ok {
		conn = secured.NetConn()
	}
	return conn.(*net.TCPConn)
}
