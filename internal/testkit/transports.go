package testkit

import (
	"crypto/tls"
	"net"
	"testing"

	"github.com/libnet-go/libnet/libnettest"
)

// A Connector returns both ends of a new connection, which are closed with the test.
type Connector func(t testing.TB) (near, far net.Conn)

// Transports are what sessions run over, each with a path of its own through the library: conns with a
// descriptor, conns without, conns that do not buffer, conns that wrap another.
var Transports = []struct {
	Name    string
	Connect Connector
}{
	{"Pipe", ConnectPipe},
	{"net.Pipe", ConnectNetPipe},
	{"TCP", ConnectTCP},
	{"TLS", ConnectTLS},
}

// OverTransports runs test once for each.
func OverTransports(t *testing.T, test func(t *testing.T, connect Connector)) {
	t.Helper()
	for _, transport := range Transports {
		t.Run(transport.Name, func(t *testing.T) {
			libnettest.VerifyNone(t)
			test(t, transport.Connect)
		})
	}
}

// CloseWithTest closes both conns when the test ends.
func CloseWithTest(t testing.TB, near, far net.Conn) (net.Conn, net.Conn) {
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	return near, far
}

func ConnectPipe(t testing.TB) (near, far net.Conn) {
	near, far = libnettest.Pipe()
	return CloseWithTest(t, near, far)
}

func ConnectNetPipe(t testing.TB) (near, far net.Conn) {
	near, far = net.Pipe()
	return CloseWithTest(t, near, far)
}

func ConnectTCP(t testing.TB) (near, far net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	near, err = net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err = listener.Accept()
	if err != nil {
		near.Close()
		t.Fatal(err)
	}
	return CloseWithTest(t, near, far)
}

func ConnectTLS(t testing.TB) (near, far net.Conn) {
	t.Helper()
	client, server := ConnectTCP(t)
	secured, peer := tls.Client(client, ClientTLS()), tls.Server(server, ServerTLS())
	done := make(chan error, 1)
	go func() { done <- peer.Handshake() }()
	if err := secured.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return CloseWithTest(t, secured, peer)
}

// Handshake does both sides' part of a handshake of TLS.
func Handshake(t testing.TB, server, client *tls.Conn) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- client.Handshake() }()
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
