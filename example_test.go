package libnet_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"sync/atomic"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/libnettest"
)

// lines is the protocol of the examples: messages are lines of text.
var lines = codec.New(codec.Lines, codec.Bytes)

// An echo server in the way of the original libnet: the caller accepts the sessions and runs them.
func ExampleServe() {
	server, err := libnet.Serve("tcp", "127.0.0.1:0", lines, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Stop()

	go func() {
		for {
			session, err := server.Accept()
			if err != nil { // io.EOF after Stop
				return
			}
			go func() {
				defer session.Close()
				for {
					msg, err := session.Receive()
					if err != nil {
						return
					}
					if err := session.Send(msg); err != nil {
						return
					}
				}
			}()
		}
	}()

	client, err := libnet.Connect("tcp", server.Listener().Addr().String(), lines, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	client.Send("hello")
	answer, err := client.Receive()
	fmt.Printf("%s %v\n", answer, err)
	// Output: hello <nil>
}

func ExampleConnect() {
	server := startEcho()
	defer server.Stop()

	session, err := libnet.Connect("tcp", server.Listener().Addr().String(), lines, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()

	for _, msg := range []string{"one", "two"} {
		if err := session.Send(msg); err != nil {
			log.Fatal(err)
		}
		answer, err := session.Receive()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", answer)
	}
	// Output:
	// one
	// two
}

func ExampleConnectTimeout() {
	server := startEcho()
	defer server.Stop()

	session, err := libnet.ConnectTimeout("tcp", server.Listener().Addr().String(), time.Second, lines, 0)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(session.IsClosed(), session.Close(), session.IsClosed())
	// Output: false <nil> true
}

func ExampleDialer_Dial() {
	server := startEcho()
	defer server.Stop()

	dialer := libnet.Dialer{Protocol: lines}
	dialer.SendQueue = 64                // Send does not wait for the peer
	dialer.IdleTimeout = 2 * time.Minute // and one that is silent is given up
	dialer.NetDialer.KeepAlive = time.Minute

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	session, err := dialer.Dial(ctx, "tcp", server.Listener().Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()
	session.Send("hello")
	answer, err := session.Receive()
	fmt.Printf("%s %v\n", answer, err)
	// Output: hello <nil>
}

// A session on a codec of one's own, over anything that a codec can be made for.
func ExampleNewSession() {
	reader, writer := io.Pipe()
	sender := libnet.NewSession(lines.NewCodec(struct {
		io.Reader
		io.WriteCloser
	}{nil, writer}), 0)
	receiver := libnet.NewSession(lines.NewCodec(struct {
		io.ReadCloser
		io.Writer
	}{reader, nil}), 0)
	defer receiver.Close()

	go func() {
		sender.Send("through a pipe")
		sender.Close()
	}()
	msg, err := receiver.Receive()
	fmt.Printf("%s %v\n", msg, err)
	_, err = receiver.Receive()
	fmt.Println(err)
	// Output:
	// through a pipe <nil>
	// EOF
}

// A protocol can be as small as a function that makes a codec.
func ExampleProtocolFunc() {
	byteAtATime := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec { return byteCodec{rw} })
	server, err := libnet.Serve("tcp", "127.0.0.1:0", byteAtATime, 16)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Stop()
	go server.Serve(libnet.HandlerFunc(echo))

	client, err := libnet.Connect("tcp", server.Listener().Addr().String(), byteAtATime, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	client.Send(byte('x'))
	msg, _ := client.Receive()
	fmt.Printf("%s %v\n", msg, errors.Is(client.Send("a text"), libnet.ErrEncode))
	// Output: x true
}

type byteCodec struct{ rw io.ReadWriter }

func (c byteCodec) Receive() ([]byte, error) {
	msg := make([]byte, 1)
	_, err := io.ReadFull(c.rw, msg)
	return msg, err
}

func (c byteCodec) Send(msg any) error {
	switch m := msg.(type) {
	case byte:
		msg = []byte{m}
	case []byte:
	default:
		return fmt.Errorf("%w: not a byte: %T", libnet.ErrEncode, msg)
	}
	_, err := c.rw.Write(msg.([]byte))
	return err
}

func (c byteCodec) Close() error { return c.rw.(io.Closer).Close() }

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

func ExampleDialer_NewSession() {
	client, server := libnettest.Pipe()
	dialer := libnet.Dialer{Protocol: lines}
	session, err := dialer.NewSession(client)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()
	session.Send("hello")
	wire := make([]byte, 6)
	n, _ := server.Read(wire)
	fmt.Printf("%q\n", wire[:n])
	// Output: "hello\n"
}

// echo is a handler that sends back what it receives.
func echo(s *libnet.Session) {
	for {
		msg, err := s.Receive()
		if err != nil || s.Send(msg) != nil {
			return
		}
	}
}

// startEcho returns an echo server that serves.
func startEcho() *libnet.Server {
	server, err := libnet.Serve("tcp", "127.0.0.1:0", lines, 64)
	if err != nil {
		log.Fatal(err)
	}
	go server.Serve(libnet.HandlerFunc(echo))
	return server
}

// connect returns a client of server.
func connect(server *libnet.Server) *libnet.Session {
	session, err := libnet.Connect("tcp", server.Listener().Addr().String(), lines, 0)
	if err != nil {
		log.Fatal(err)
	}
	return session
}
