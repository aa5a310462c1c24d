package libnet_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/libnettest"
)

// A connector returns both ends of a new connection, which are closed with the test.
type connector func(t testing.TB) (near, far net.Conn)

// transports are what sessions run over, each with a path of its own through the library: conns with a
// descriptor, conns without, conns that do not buffer, conns that wrap another.
var transports = []struct {
	name    string
	connect connector
}{
	{"Pipe", connectPipe},
	{"net.Pipe", connectNetPipe},
	{"TCP", connectTCP},
	{"TLS", connectTLS},
}

// overTransports runs test once for each.
func overTransports(t *testing.T, test func(t *testing.T, connect connector)) {
	t.Helper()
	for _, transport := range transports {
		t.Run(transport.name, func(t *testing.T) {
			libnettest.VerifyNone(t)
			test(t, transport.connect)
		})
	}
}

func closeWithTest(t testing.TB, near, far net.Conn) (net.Conn, net.Conn) {
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	return near, far
}

func connectPipe(t testing.TB) (near, far net.Conn) {
	near, far = libnettest.Pipe()
	return closeWithTest(t, near, far)
}

func connectNetPipe(t testing.TB) (near, far net.Conn) {
	near, far = net.Pipe()
	return closeWithTest(t, near, far)
}

func connectTCP(t testing.TB) (near, far net.Conn) {
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
	return closeWithTest(t, near, far)
}

func connectTLS(t testing.TB) (near, far net.Conn) {
	t.Helper()
	client, server := connectTCP(t)
	secured, peer := tls.Client(client, clientTLS()), tls.Server(server, serverTLS())
	shaken := make(chan error, 1)
	go func() { shaken <- peer.Handshake() }()
	if err := secured.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	return closeWithTest(t, secured, peer)
}

// certificate signs itself for the loopback address.
var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "libnet test"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
})

func serverTLS() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{certificate()}}
}

func clientTLS() *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(certificate().Leaf)
	return &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
}

// A read that asks for less than a message would lose the rest of it.
func TestANetworkThatKeepsMessagesApartIsRefused(t *testing.T) {
	dir := t.TempDir()
	if srv, err := libnet.Serve("unixpacket", filepath.Join(dir, "serve"), frames, 10); err == nil {
		srv.Stop()
		t.Error("Serve listens on unixpacket")
	}
	listen := func(name string) net.Listener {
		l, err := net.Listen("unixpacket", filepath.Join(dir, name))
		if err != nil {
			t.Skip(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	if c, err := libnet.Connect("unixpacket", listen("dialled").Addr().String(), frames, 10); err == nil {
		c.Close()
		t.Error("Connect over unixpacket")
	}
	for name, serve := range map[string]func(*libnet.Server) error{
		"Accept":        func(srv *libnet.Server) error { _, err := srv.Accept(); return err },
		"Serve":         func(srv *libnet.Server) error { return srv.Serve(libnet.HandlerFunc(echo)) },
		"ServeMessages": func(srv *libnet.Server) error { return srv.ServeMessages(libnet.MessageHandlerFunc(eventEcho)) },
	} {
		srv := libnet.NewServer(listen(name), frames, 10)
		srv.Logger = quiet
		var err error
		within(t, patience, name, func() { err = serve(srv) })
		srv.Stop()
		if err == nil || errors.Is(err, libnet.ErrServerClosed) {
			t.Errorf("%s = %v; want a refusal", name, err)
		}
	}
}

func TestAConnThatKeepsMessagesApartBecomesNoSession(t *testing.T) {
	dir := t.TempDir()
	for network, address := range map[string]string{
		"unixpacket": filepath.Join(dir, "p"),
		"unixgram":   filepath.Join(dir, "g"),
		"udp":        "127.0.0.1:1",
	} {
		for _, wrap := range []func(net.Conn) net.Conn{
			func(c net.Conn) net.Conn { return c },
			func(c net.Conn) net.Conn { return struct{ net.Conn }{c} },
		} {
			srv := newServer(t, frames, 10)
			if s, err := srv.NewSession(wrap(messageConn(t, network, address))); err == nil {
				s.Close()
				t.Errorf("a session over %s", network)
			}
			if open := srv.Stats().Open; open != 0 {
				t.Errorf("%d sessions open", open)
			}
			d := libnet.Dialer{Protocol: frames}
			if s, err := d.NewSession(wrap(messageConn(t, network, address))); err == nil {
				s.Close()
				t.Errorf("a client session over %s", network)
			}
		}
	}
}

// messageConn returns the client's end.
func messageConn(t *testing.T, network, address string) net.Conn {
	t.Helper()
	switch network {
	case "unixpacket":
		l, err := net.Listen(network, address)
		if err != nil {
			t.Skip(err)
		}
		defer l.Close()
	case "unixgram":
		l, err := net.ListenUnixgram(network, &net.UnixAddr{Name: address, Net: network})
		if err != nil {
			t.Skip(err)
		}
		defer os.Remove(address)
		defer l.Close()
	}
	conn, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
