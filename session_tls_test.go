package libnet_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// A tlsAuthority issues certificates that those who have its pool trust.
type tlsAuthority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pool        *x509.CertPool
	serial      atomic.Int64
}

func newAuthority() *tlsAuthority {
	a := &tlsAuthority{pool: x509.NewCertPool()}
	a.certificate, a.key = a.sign(&x509.Certificate{
		Subject:               pkix.Name{CommonName: "libnet test authority"},
		KeyUsage:              x509.KeyUsageCertSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
	})
	a.pool.AddCert(a.certificate)
	return a
}

// issue makes a certificate for a name, and for the loopback address if it is a server's.
func (a *tlsAuthority) issue(name string) tls.Certificate {
	leaf, key := a.sign(&x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		DNSNames:    []string{name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

func (a *tlsAuthority) sign(template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template.SerialNumber = big.NewInt(a.serial.Add(1))
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.certificate, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		panic(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return certificate, key
}

func TestTLSCarriesMessagesOfAllSizesBothWays(t *testing.T) {
	ca := newAuthority()
	srv := tlsEchoServer(t, &tls.Config{Certificates: []tls.Certificate{ca.issue("server.test")}}, nil)
	s, err := tlsDial(t, srv, &tls.Config{RootCAs: ca.pool})
	if err != nil {
		t.Fatal(err)
	}
	for i, size := range []int{0, 1, 16<<10 - 4, 16 << 10, 100_000, 1<<20 - 8} {
		msg := string(testkit.Message(1, i, size))
		testkit.MustSend(t, s, msg)
		testkit.MustReceive(t, s, msg)
	}
}

func TestAServerMayDemandCertificatesOfItsClients(t *testing.T) {
	ca, stranger := newAuthority(), newAuthority()
	srv := tlsEchoServer(t, &tls.Config{
		Certificates: []tls.Certificate{ca.issue("server.test")},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    ca.pool,
	}, nil)
	with := func(certificates ...tls.Certificate) *tls.Config {
		return &tls.Config{RootCAs: ca.pool, Certificates: certificates}
	}
	if _, err := tlsDial(t, srv, with(ca.issue("a client"))); err != nil {
		t.Errorf("with a certificate: %v", err)
	}
	if _, err := tlsDial(t, srv, with()); err == nil {
		t.Error("served a client without a certificate")
	}
	if _, err := tlsDial(t, srv, with(stranger.issue("a client"))); err == nil {
		t.Error("served a client with a certificate of somebody else's")
	}
	for s := range srv.Manager().All() {
		if s.Stats().MessagesIn == 0 {
			testkit.Eventually(t, "the end of a refused session", s.IsClosed)
		}
	}
}

func TestTheHandlerLearnsWhoseCertificateItIs(t *testing.T) {
	ca := newAuthority()
	names := make(chan string, 2)
	name := func(s *libnet.Session) string {
		state, ok := s.TLS()
		if !ok || len(state.PeerCertificates) == 0 {
			return "nobody"
		}
		return state.PeerCertificates[0].Subject.CommonName
	}
	srv := tlsEchoServer(t, &tls.Config{
		Certificates: []tls.Certificate{ca.issue("server.test")},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    ca.pool,
	}, func(srv *libnet.Server) {
		srv.OnSession = func(s *libnet.Session) error { names <- name(s); return nil }
	})
	s, err := tlsDial(t, srv, &tls.Config{RootCAs: ca.pool, Certificates: []tls.Certificate{ca.issue("alice")}})
	if err != nil {
		t.Fatal(err)
	}
	if got := testkit.Await(t, testkit.Patience, "OnSession", names); got != "alice" {
		t.Errorf("the server sees %s", got)
	}
	if got := name(s); got != "server.test" {
		t.Errorf("the client sees %s", got)
	}
	if _, err := tlsDial(t, srv, &tls.Config{RootCAs: ca.pool}); err == nil {
		t.Error("served nobody")
	}
	if got := testkit.Await(t, testkit.Patience, "OnSession", names); got != "nobody" {
		t.Errorf("a client without a certificate is %s", got)
	}
	near, _ := testkit.ConnectPipe(t)
	if _, ok := testkit.Adopt(t, testkit.NewServer(t, testkit.Frames, 0), near).TLS(); ok {
		t.Error("there is no TLS on a pipe")
	}
}

func TestACertificateIsReplacedWhileTheServerRuns(t *testing.T) {
	ca := newAuthority()
	var current atomic.Pointer[tls.Certificate]
	replace := func(name string) {
		certificate := ca.issue(name)
		current.Store(&certificate)
	}
	replace("old.test")
	srv := tlsEchoServer(t, &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return current.Load(), nil },
	}, nil)
	trusts := func(name string) *tls.Config { return &tls.Config{RootCAs: ca.pool, ServerName: name} }
	old, err := tlsDial(t, srv, trusts("old.test"))
	if err != nil {
		t.Fatal(err)
	}
	replace("new.test")
	if _, err := tlsDial(t, srv, trusts("new.test")); err != nil {
		t.Errorf("with the new certificate: %v", err)
	}
	if _, err := tlsDial(t, srv, trusts("old.test")); err == nil {
		t.Error("the old certificate is still shown")
	}
	testkit.MustSend(t, old, "still here")
	testkit.MustReceive(t, old, "still here")
}

func TestAConfigMayBeChosenForEachClient(t *testing.T) {
	ca := newAuthority()
	configs := map[string]*tls.Config{
		"open.test": {Certificates: []tls.Certificate{ca.issue("open.test")}},
		"closed.test": {
			Certificates: []tls.Certificate{ca.issue("closed.test")},
			ClientAuth:   tls.RequireAndVerifyClientCert,
			ClientCAs:    ca.pool,
		},
	}
	srv := tlsEchoServer(t, &tls.Config{
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if config := configs[hello.ServerName]; config != nil {
				return config, nil
			}
			return nil, errors.New("no such name")
		},
	}, nil)
	for name, ok := range map[string]bool{"open.test": true, "closed.test": false, "other.test": false} {
		if _, err := tlsDial(t, srv, &tls.Config{RootCAs: ca.pool, ServerName: name}); (err == nil) != ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Accept hands out a session whose handshake has not begun.
func TestAcceptDoesNotWaitForAHandshake(t *testing.T) {
	srv, err := libnet.Serve("tcp", "127.0.0.1:0", testkit.Frames, 0)
	if err != nil {
		t.Fatal(err)
	}
	srv.TLSConfig, srv.Logger, srv.HandshakeTimeout = testkit.ServerTLS(), testkit.Quiet, 300*time.Millisecond
	defer srv.Stop()
	for range 20 {
		conn, err := net.Dial("tcp", srv.Listener().Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		s, err := srv.Accept()
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, err := s.Receive()
			testkit.WantErr(t, "Receive", err, libnet.ErrHandshakeTimeout)
		}()
	}
	testkit.Eventually(t, "the silent ones to be closed", func() bool { return srv.Stats().Closed["handshake_timeout"] == 20 })
}

// Between two frames crypto/tls takes the connection's end for close_notify, as most do.
func TestTheEndOfATLSStreamWithinAFrameIsNeverClean(t *testing.T) {
	for name, test := range map[string]struct {
		partial string
		end     func(client *tls.Conn)
		want    error
	}{
		"close_notify between frames":    {"", func(c *tls.Conn) { c.Close() }, io.EOF},
		"close_notify in a frame":        {"\x00\x00", func(c *tls.Conn) { c.Close() }, io.ErrUnexpectedEOF},
		"no close_notify between frames": {"", func(c *tls.Conn) { c.NetConn().Close() }, io.EOF},
		"no close_notify in a frame":     {"\x00\x00", func(c *tls.Conn) { c.NetConn().Close() }, io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			near, far := testkit.ConnectTLS(t)
			client := far.(*tls.Conn)
			s := testkit.Adopt(t, testkit.NewServer(t, testkit.Frames, 0), near)
			testkit.MustWrite(t, client, append(testkit.Frame("whole"), test.partial...))
			testkit.MustReceive(t, s, "whole")
			test.end(client)
			if _, err := s.Receive(); err != test.want {
				t.Errorf("Receive = %v; want %v", err, test.want)
			}
		})
	}
}

func TestShutdownOverTLSLosesNothing(t *testing.T) {
	near, far := testkit.ConnectTLS(t)
	s := testkit.Adopt(t, testkit.NewServer(t, testkit.Frames, 2000), near)
	peer := testkit.Adopt(t, testkit.NewServer(t, testkit.Frames, 0), far)
	for i := range 2000 {
		testkit.MustSend(t, s, testkit.Message(1, i, 100))
	}
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(context.Background()) }()
	for i := range 2000 {
		msg, err := peer.Receive()
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		testkit.ParseMessage(t, msg)
	}
	if _, err := peer.Receive(); err != io.EOF {
		t.Errorf("the end: %v", err)
	}
	if err := testkit.Await(t, testkit.Patience, "Shutdown", done); err != nil {
		t.Error(err)
	}
}

func TestABroadcastReachesMembersOverTLS(t *testing.T) {
	var group libnet.Group[int]
	peers := grpJoin(t, &group, testkit.NewServer(t, testkit.Frames, 8), 0, 5, testkit.ConnectTLS)
	grpJoin(t, &group, testkit.NewServer(t, testkit.Frames, 8), 10, 5, testkit.ConnectTCP)
	large := strings.Repeat("large ", 10_000)
	if result := group.Broadcast(large); result.Sent != 10 {
		t.Fatalf("%+v", result)
	}
	for _, peer := range peers {
		testkit.MustReceive(t, testkit.Adopt(t, testkit.NewServer(t, testkit.Frames, 0), peer), large)
	}
}

func TestATLSServerLeavesNothingBehind(t *testing.T) {
	libnettest.VerifyNone(t)
	srv := tlsEchoServer(t, testkit.ServerTLS(), nil)
	for range 10 {
		if _, err := tlsDial(t, srv, testkit.ClientTLS()); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := net.Dial("tcp", srv.Listener().Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestSilentPeersOfATLSServerEnd(t *testing.T) {
	for name, set := range map[string]func(*libnet.Server) libnet.HandlerFunc{
		"the handler sends and returns": func(*libnet.Server) libnet.HandlerFunc {
			return func(s *libnet.Session) { _ = s.Send([]byte("hello")) }
		},
		"without HandshakeTimeout": func(srv *libnet.Server) libnet.HandlerFunc {
			srv.HandshakeTimeout = 0
			return func(s *libnet.Session) { _ = s.Send([]byte("hello")); _, _ = s.Receive() }
		},
		"without WriteTimeout": func(srv *libnet.Server) libnet.HandlerFunc {
			srv.WriteTimeout = -1
			return func(s *libnet.Session) { _ = s.Send([]byte("hello")) }
		},
		"OnSession refuses with a word": func(srv *libnet.Server) libnet.HandlerFunc {
			srv.OnSession = func(s *libnet.Session) error { _ = s.Send([]byte("no")); return errors.New("refused") }
			return func(*libnet.Session) {}
		},
		"the handler asks for the certificate": func(*libnet.Server) libnet.HandlerFunc {
			return func(s *libnet.Session) { _, _ = s.TLS(); <-s.Done() }
		},
	} {
		t.Run(name, func(t *testing.T) {
			var handler libnet.HandlerFunc
			srv, _ := listenOn(t, "tls", 8, func(srv *libnet.Server) {
				srv.HandshakeTimeout, srv.WriteTimeout, srv.Linger = 300*time.Millisecond, 300*time.Millisecond, 300*time.Millisecond
				handler = set(srv)
			})
			go srv.Serve(handler)
			silentPeers(t, srv, 5)
			testkit.Eventually(t, "the end of all", func() bool { st := srv.Stats(); return st.Accepted == 5 && st.Open == 0 })
		})
	}
}

func TestAShutdownWithoutAnEndOfItsOwnEndsSilentTLSPeers(t *testing.T) {
	srv, _ := listenOn(t, "tls", 8, func(srv *libnet.Server) { srv.WriteTimeout, srv.Linger = 300*time.Millisecond, 300*time.Millisecond })
	go srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) { _ = s.Send([]byte("hello")); _, _ = s.Receive() }))
	silentPeers(t, srv, 5)
	testkit.Eventually(t, "sessions", func() bool { return srv.Stats().Open == 5 })
	testkit.Within(t, testkit.Patience, "Shutdown", func() { _ = srv.Shutdown(t.Context()) })
}

func silentPeers(t *testing.T, srv *libnet.Server, n int) {
	t.Helper()
	for range n {
		conn, err := net.Dial("tcp", srv.Listener().Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
}

// Close does not wait for a peer that does not read, also through TLS that another conn wraps.
func TestCloseOfWrappedTLSDoesNotWaitForThePeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 32 << 10
		near, far := libnettest.PipeSize(size)
		defer far.Close()
		server := tls.Server(near, testkit.ServerTLS())
		client := tls.Client(far, testkit.ClientTLS())
		testkit.Handshake(t, server, client)
		srv := testkit.NewServer(t, testkit.Frames, 8)
		s := testkit.Adopt(t, srv, struct{ *tls.Conn }{server})
		testkit.MustSend(t, s, make([]byte, 10_000))
		settle := func() int {
			testkit.Eventually(t, "an empty queue", func() bool { return s.Stats().Queued == 0 })
			return far.(interface{ Buffered() int }).Buffered()
		}
		testkit.MustSend(t, s, make([]byte, size-settle()-22-4-8192-22-100))
		testkit.MustSend(t, s, make([]byte, size-settle()-22-4))
		t.Logf("%d of %d bytes are under way", settle(), size)
		begin := time.Now()
		_ = s.Close()
		if took := time.Since(begin); took > time.Second { // of the bubble: crypto/tls would wait for five
			t.Errorf("Close took %v", took)
		}
	})
}

// The handshake comes with the first use, so a handler that takes its time before it receives owes it, and not the
// peer.
func TestAHandlerThatBeginsLateDoesNotEndItsTLSPeer(t *testing.T) {
	srv, _ := listenOn(t, "tls", 8, func(srv *libnet.Server) { srv.HandshakeTimeout = 300 * time.Millisecond })
	go srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
		time.Sleep(900 * time.Millisecond)
		testkit.Echo(s)
	}))
	if _, err := tlsDial(t, srv, testkit.ClientTLS()); err != nil {
		t.Error(err)
	}
}
