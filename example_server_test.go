package libnet_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/libnettest"
)

func ExampleNewServer() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := libnet.NewServer(listener, lines, 64)
	server.MaxSessions = 1000
	server.IdleTimeout = time.Minute
	server.OnSession = func(s *libnet.Session) error {
		s.State = server.Manager().Len()
		return nil
	}
	go server.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
		s.Send(fmt.Sprintf("%d of at most 1000 sessions are open", s.State))
	}))

	client := connect(server)
	defer client.Close()
	msg, _ := client.Receive()
	fmt.Printf("%s\n", msg)
	server.Stop()
	// Output: 1 of at most 1000 sessions are open
}

// The server runs each session in a goroutine of its own. What the handler sent last is delivered when
// it returns.
func ExampleServer_Serve() {
	server, err := libnet.Serve("tcp", "127.0.0.1:0", lines, 64)
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error)
	go func() {
		served <- server.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
			name, err := s.Receive()
			if err != nil {
				return
			}
			s.Send(fmt.Sprintf("hello, %s", name))
			s.Send("goodbye")
		}))
	}()

	client := connect(server)
	client.Send("gopher")
	for {
		msg, err := client.Receive()
		if err != nil {
			fmt.Println(err)
			break
		}
		fmt.Printf("%s\n", msg)
	}
	server.Stop()
	fmt.Println(<-served)
	// Output:
	// hello, gopher
	// goodbye
	// EOF
	// libnet: server closed
}

// In event mode a handler is called for each message, and a silent session has no goroutine.
func ExampleServer_ServeMessages() {
	server, err := libnet.Serve("tcp", "127.0.0.1:0", lines, 64)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Stop()
	go server.ServeMessages(libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) {
		s.Send(fmt.Sprintf("%d bytes", len(msg)))
	}))

	client := connect(server)
	defer client.Close()
	client.Send("how long is this?")
	msg, _ := client.Receive()
	fmt.Printf("%s\n", msg)
	// Output: 17 bytes
}

func ExampleServer_Accept() {
	server, err := libnet.Serve("tcp", "127.0.0.1:0", lines, 64)
	if err != nil {
		log.Fatal(err)
	}
	client := connect(server)
	session, err := server.Accept()
	if err != nil {
		log.Fatal(err)
	}
	session.Send("welcome")
	msg, _ := client.Receive()
	fmt.Printf("%s\n", msg)

	server.Stop()
	_, err = server.Accept()
	fmt.Println(err)
	// Output:
	// welcome
	// EOF
}

// Shutdown delivers what has been accepted, and says exactly what it could not.
func ExampleServer_Shutdown() {
	server, err := libnet.Serve("tcp", "127.0.0.1:0", lines, 64)
	if err != nil {
		log.Fatal(err)
	}
	go server.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
		for {
			if _, err := s.Receive(); err != nil {
				return
			}
			for i := range 3 {
				s.Send(fmt.Sprint("answer ", i))
			}
		}
	}))
	client := connect(server)
	client.Send("a question")
	msg, err := client.Receive()

	done := make(chan error)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		done <- server.Shutdown(ctx)
	}()
	for err == nil {
		fmt.Printf("%s\n", msg)
		msg, err = client.Receive()
	}
	fmt.Println(err)
	fmt.Println(<-done)
	// Output:
	// answer 0
	// answer 1
	// answer 2
	// EOF
	// <nil>
}

// A program that ends at SIGTERM has ctx of signal.NotifyContext. Here a client's last message ends it.
func ExampleServer_ServeUntil() {
	server, err := libnet.Serve("tcp", "127.0.0.1:0", lines, 64)
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	client := connect(server)
	client.Send("the end")
	err = server.ServeUntil(ctx, 10*time.Second, func() error {
		return server.ServeMessages(libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) {
			s.Send("goodbye")
			stop()
		}))
	})
	msg, _ := client.Receive()
	fmt.Printf("%s, %v\n", msg, err)
	// Output: goodbye, <nil>
}

// OnSession is the place for a login: the handler sees only those who passed. What it sends before it refuses is
// delivered.
func ExampleServer_onSession() {
	server, err := libnet.Serve("tcp", "127.0.0.1:0", lines, 64)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Stop()
	server.HandshakeTimeout = 10 * time.Second // for those who connect and say nothing
	server.OnSession = func(s *libnet.Session) error {
		password, err := s.Receive()
		if err == nil && string(password) != "sesame" {
			s.Send("no")
			err = errors.New("wrong password")
		}
		return err
	}
	server.Logger = slog.New(slog.DiscardHandler)
	go server.Serve(libnet.HandlerFunc(echo))

	for _, password := range []string{"simsim", "sesame"} {
		client := connect(server)
		client.Send(password)
		client.Send("hello")
		answer, _ := client.Receive()
		fmt.Printf("%s: %s\n", password, answer)
		client.Close()
	}
	// Output:
	// simsim: no
	// sesame: hello
}

func ExampleServer_NewSession() {
	server := startEcho()
	defer server.Stop()
	here, there := net.Pipe() // or a WebSocket, or whatever else is a net.Conn
	session, err := server.NewSession(here)
	if err != nil {
		log.Fatal(err)
	}
	go session.Send("on a pipe")

	peer := libnet.NewSession(lines.NewCodec(there), 0)
	msg, _ := peer.Receive()
	fmt.Printf("%s\n", msg)
	peer.Close()
	// Output: on a pipe
}

func ExampleServer_Stats() {
	server := startEcho()
	client := connect(server)
	client.Send("hello")
	client.Receive()
	client.Close()
	for server.Stats().Open > 0 {
		time.Sleep(time.Millisecond)
	}
	stats := server.Stats()
	server.Stop()
	fmt.Println(stats.Accepted, stats.MessagesIn, stats.MessagesOut, stats.Closed)
	// Output: 1 1 1 map[eof:1]
}

func ExampleManager() {
	manager := libnet.NewManager() // a server has one of its own: Server.Manager
	session := manager.NewSession(lines.NewCodec(discard{}), 8)
	fmt.Println(manager.GetSession(session.ID()) == session, manager.Len())
	session.Close()
	fmt.Println(manager.GetSession(session.ID()), manager.Len())
	manager.Dispose()
	// Output:
	// true 1
	// <nil> 0
}

type discard struct{}

func (discard) Read([]byte) (int, error)    { select {} }
func (discard) Write(p []byte) (int, error) { return len(p), nil }

func ExampleManager_Broadcast() {
	server := startEcho()
	defer server.Stop()
	clients := []*libnet.Session{connect(server), connect(server)}
	for _, client := range clients {
		client.Send("hello") // so that the server knows the session
		client.Receive()
	}
	fmt.Println(server.Manager().Broadcast("to all"))
	for _, client := range clients {
		msg, _ := client.Receive()
		fmt.Printf("%s\n", msg)
		client.Close()
	}
	// Output:
	// {2 0 0}
	// to all
	// to all
}

// A connection that some other program has accepted, here one end of a pipe.
func ExampleServer_ServeConn() {
	server := libnet.NewServer(libnettest.NewListener(), lines, 64)
	defer server.Stop()
	client, conn := libnettest.Pipe()
	served := make(chan error)
	go func() {
		served <- server.ServeConn(conn, libnet.HandlerFunc(func(s *libnet.Session) {
			s.Send("welcome")
		}))
	}()

	dialer := libnet.Dialer{Protocol: lines}
	session, err := dialer.NewSession(client)
	if err != nil {
		log.Fatal(err)
	}
	welcome, err := session.Receive()
	fmt.Printf("%s %v\n", welcome, err)
	session.Close()
	fmt.Println(<-served)
	// Output:
	// welcome <nil>
	// <nil>
}

func ExampleServer_histograms() {
	server, err := libnet.Serve("tcp", "127.0.0.1:0", lines, 16)
	if err != nil {
		log.Fatal(err)
	}
	server.Histograms = true
	go server.ServeMessages(libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) { _ = s.Send(msg) }))
	session := connect(server)
	if err := session.Send(strings.Repeat("x", 100)); err != nil {
		log.Fatal(err)
	}
	if _, err := session.Receive(); err != nil {
		log.Fatal(err)
	}
	_ = session.Close()
	_ = server.Shutdown(context.Background())

	sizes := server.Stats().MessageSize
	for i, n := range sizes.Counts {
		if n > 0 {
			fmt.Println(n, "message of", sizes.Bounds[i], "bytes or less")
		}
	}
	// Output:
	// 1 message of 128 bytes or less
}

// Behind a load balancer that speaks the PROXY protocol a session's peer is the client. Here the balancer is a
// connection from this machine, which is trusted, and says that it passes on one from 192.0.2.1.
func ExampleProxyProtocol() {
	server, err := libnet.Serve("tcp", "127.0.0.1:0", lines, 64)
	if err != nil {
		log.Fatal(err)
	}
	server.ProxyProtocol.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	go server.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
		s.Send(fmt.Sprintf("hello, %v", s.RemoteAddr()))
	}))

	balancer, err := net.Dial("tcp", server.Listener().Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer balancer.Close()
	fmt.Fprint(balancer, "PROXY TCP4 192.0.2.1 203.0.113.9 56324 443\r\n")
	line, _ := bufio.NewReader(balancer).ReadString('\n')
	fmt.Print(line)
	server.Stop()
	// Output: hello, 192.0.2.1:56324
}

// chat is a message handler with a state a session: who speaks.
type chat struct{ users libnet.Group[string] }

func (c *chat) ServeMessage(s *libnet.Session, msg []byte) {
	name, known := s.State.(string)
	if !known {
		name = string(msg) // msg itself is only valid until ServeMessage returns
		s.State = name
		c.users.Put(name, s)
		s.Send("welcome, " + name)
		return
	}
	c.users.Broadcast(fmt.Sprintf("%s: %s", name, msg))
}

// A handler of messages keeps what it knows of a session in its State: there is no goroutine to keep it on.
func ExampleMessageHandler() {
	server, err := libnet.Serve("tcp", "127.0.0.1:0", lines, 64)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Stop()
	go server.ServeMessages(new(chat))

	ann, bob := connect(server), connect(server)
	defer ann.Close()
	defer bob.Close()
	ann.Send("ann")
	msg, _ := ann.Receive()
	fmt.Printf("%s\n", msg)
	bob.Send("bob")
	msg, _ = bob.Receive()
	fmt.Printf("%s\n", msg)

	bob.Send("hello, all")
	msg, _ = ann.Receive()
	fmt.Printf("%s\n", msg)
	// Output:
	// welcome, ann
	// welcome, bob
	// bob: hello, all
}
