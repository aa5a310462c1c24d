package libnet_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"sync/atomic"

	"github.com/libnet-go/libnet"
)

// The handshake of each client takes place on its session's goroutine: one that stalls holds up nobody, and
// HandshakeTimeout ends it.
func Example_tls() {
	authority := newAuthority() // in earnest: tls.LoadX509KeyPair
	server, err := libnet.Serve("tcp", "127.0.0.1:0", lines, 64)
	if err != nil {
		log.Fatal(err)
	}
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{authority.issue("chat.example.com")}}
	go server.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
		name, err := s.Receive()
		if err == nil {
			s.Send("hello, " + string(name))
		}
	}))
	defer server.Stop()

	dialer := libnet.Dialer{
		Protocol:  lines,
		TLSConfig: &tls.Config{RootCAs: authority.pool, ServerName: "chat.example.com"},
	}
	session, err := dialer.Dial(context.Background(), "tcp", server.Listener().Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	session.Send("gopher")
	answer, err := session.Receive()
	fmt.Printf("%s %v\n", answer, err)

	// One who does not trust that authority gets no session.
	dialer.TLSConfig = &tls.Config{ServerName: "chat.example.com"}
	_, err = dialer.Dial(context.Background(), "tcp", server.Listener().Addr().String())
	fmt.Println(err)
	// Output:
	// hello, gopher <nil>
	// tls: failed to verify certificate: x509: certificate signed by unknown authority
}

// Clients show certificates, too, and the handler knows them by these.
func ExampleSession_TLS() {
	authority := newAuthority()
	server, err := libnet.Serve("tcp", "127.0.0.1:0", lines, 64)
	if err != nil {
		log.Fatal(err)
	}
	server.TLSConfig = &tls.Config{
		Certificates: []tls.Certificate{authority.issue("chat.example.com")},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    authority.pool,
	}
	go server.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
		state, ok := s.TLS()
		if !ok {
			return // without a certificate that ClientCAs vouches for
		}
		s.Send("hello, " + state.PeerCertificates[0].Subject.CommonName)
	}))
	defer server.Stop()

	dialer := libnet.Dialer{
		Protocol: lines,
		TLSConfig: &tls.Config{
			RootCAs:      authority.pool,
			ServerName:   "chat.example.com",
			Certificates: []tls.Certificate{authority.issue("alice")},
		},
	}
	session, err := dialer.Dial(context.Background(), "tcp", server.Listener().Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	answer, err := session.Receive()
	fmt.Printf("%s %v\n", answer, err)
	// Output: hello, alice <nil>
}

// A certificate that is about to expire is replaced while the server runs: handshakes from then on show the new
// one, and sessions that exist go on.
func Example_certificateReload() {
	authority := newAuthority()
	var current atomic.Pointer[tls.Certificate]
	reload := func(name string) { // in earnest: tls.LoadX509KeyPair, on SIGHUP or when the file has changed
		certificate := authority.issue(name)
		current.Store(&certificate)
	}
	reload("old.example.com")

	server, err := libnet.Serve("tcp", "127.0.0.1:0", lines, 64)
	if err != nil {
		log.Fatal(err)
	}
	server.TLSConfig = &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return current.Load(), nil },
	}
	go server.Serve(libnet.HandlerFunc(func(s *libnet.Session) { s.Receive() }))
	defer server.Stop()

	dialer := libnet.Dialer{Protocol: lines, TLSConfig: &tls.Config{RootCAs: authority.pool}}
	shown := func() string {
		session, err := dialer.Dial(context.Background(), "tcp", server.Listener().Addr().String())
		if err != nil {
			return err.Error()
		}
		defer session.Close()
		state, _ := session.TLS()
		return state.PeerCertificates[0].Subject.CommonName
	}
	fmt.Println(shown())
	reload("new.example.com")
	fmt.Println(shown())
	// Output:
	// old.example.com
	// new.example.com
}
