//go:debug x509usefallbackroots=1
package ws_test

import (
	"crypto/tls"
	"crypto/x509"
	"testing"

	"github.com/libnet-go/libnet/internal/testkit"
)

// layer is what the servers that start makes have below WebSocket; nil is none. Only TestTheSuitesOverTLS changes it.
var layer *tls.Config

// Clients that are told of no roots trust the certificate of these tests and no other: so they need not know of the layer.
func init() {
	roots := x509.NewCertPool()
	roots.AddCert(testkit.Certificate().Leaf)
	x509.SetFallbackRoots(roots)
}

// What holds for WebSockets holds over TLS: behind net/http on a ws.TLSListener, and on the server's own listener.
func TestTheSuitesOverTLS(t *testing.T) {
	layer = testkit.ServerTLS()
	defer func() { layer = nil }()
	inModes(t, allModes, suite)
}
