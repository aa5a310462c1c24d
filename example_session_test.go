package libnet_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"time"

	"github.com/libnet-go/libnet"
)

func ExampleSession_Send() {
	server := startEcho()
	defer server.Stop()
	session := connect(server)
	defer session.Close()

	fmt.Println(session.Send("a line"))
	err := session.Send("two\nlines") // which this protocol cannot carry
	fmt.Println(errors.Is(err, libnet.ErrEncode), session.IsClosed())

	session.Close()
	err = session.Send("late")
	fmt.Println(err, errors.Is(err, libnet.ErrSessionClosed))
	// Output:
	// <nil>
	// true false
	// libnet: session closed true
}

// SendBytes is Send for bytes: it puts them into no any, which Go would allocate for.
func ExampleSession_SendBytes() {
	server := startEcho()
	defer server.Stop()
	session := connect(server)
	defer session.Close()

	line := []byte("one")
	fmt.Println(session.SendBytes(line))
	copy(line, "two") // the message has been encoded
	fmt.Println(session.SendBytesContext(context.Background(), line))
	for range 2 {
		msg, _ := session.Receive()
		fmt.Printf("%s\n", msg)
	}
	// Output:
	// <nil>
	// <nil>
	// one
	// two
}

// SendContext waits for room where Send answers ErrSessionBlocked.
func ExampleSession_SendContext() {
	server := startEcho()
	defer server.Stop()
	dialer := libnet.Dialer{Protocol: lines}
	dialer.SendQueue = 1
	session, err := dialer.Dial(context.Background(), "tcp", server.Listener().Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()

	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	go func() {
		for i := range 3 {
			if err := session.SendContext(ctx, fmt.Sprint("message ", i)); err != nil {
				log.Fatal(err)
			}
		}
	}()
	for range 3 {
		msg, _ := session.Receive()
		fmt.Printf("%s\n", msg)
	}
	// Output:
	// message 0
	// message 1
	// message 2
}

func ExampleSession_Receive() {
	server := startEcho()
	session := connect(server)
	session.Send("hello")
	for {
		msg, err := session.Receive()
		if err != nil { // the session is closed, and this is why
			fmt.Println(err, err == session.Err())
			return
		}
		fmt.Printf("%s\n", msg)
		go server.Stop()
	}
	// Output:
	// hello
	// EOF true
}

// A message is lent until the next one comes: clone what is to be kept.
func ExampleSession_Messages() {
	server := startEcho()
	session := connect(server)
	session.Send("hello")
	session.Send("world")
	var kept [][]byte
	for msg := range session.Messages() {
		kept = append(kept, bytes.Clone(msg))
		if len(kept) == 2 {
			go server.Stop()
		}
	}
	fmt.Printf("%s, until %v\n", kept, session.Err())
	// Output:
	// [hello world], until EOF
}

// ReceiveInto needs no memory of its own when the buffer is large enough.
func ExampleSession_ReceiveInto() {
	server := startEcho()
	defer server.Stop()
	session := connect(server)
	defer session.Close()

	buf := make([]byte, 0, 1024)
	for _, msg := range []string{"one", "two"} {
		session.Send(msg)
		var err error
		if buf, err = session.ReceiveInto(buf); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", buf)
	}
	// Output:
	// one
	// two
}

func ExampleSession_OnClose() {
	server := startEcho()
	defer server.Stop()
	session := connect(server)

	session.OnClose(func() { fmt.Println("closed:", session.Err()) })
	stop := session.OnClose(func() { fmt.Println("never") })
	fmt.Println(stop())

	session.Close()
	session.OnClose(func() { fmt.Println("at once, for it is closed") })
	// Output:
	// true
	// closed: libnet: session closed
	// at once, for it is closed
}

func ExampleSession_CloseWithError() {
	server := startEcho()
	defer server.Stop()
	session := connect(server)
	kicked := errors.New("kicked by an operator")
	session.CloseWithError(kicked)
	_, err := session.Receive()
	fmt.Println(err)
	fmt.Println(session.Close()) // a second close changes nothing
	fmt.Println(session.Err())
	// Output:
	// kicked by an operator
	// libnet: session closed
	// kicked by an operator
}

// Close discards what is queued, and counts it. Shutdown delivers it.
func ExampleSession_Shutdown() {
	server, err := libnet.Serve("tcp", "127.0.0.1:0", lines, 64)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Stop()
	received := make(chan int)
	go server.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
		n := 0
		for {
			if _, err := s.Receive(); err != nil {
				received <- n
				return
			}
			n++
		}
	}))

	dialer := libnet.Dialer{Protocol: lines}
	dialer.SendQueue = 1000
	session, err := dialer.Dial(context.Background(), "tcp", server.Listener().Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	for i := range 1000 {
		session.Send(fmt.Sprint("message ", i))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	fmt.Println(session.Shutdown(ctx), session.Stats().Discarded)
	fmt.Println(<-received)
	// Output:
	// <nil> 0
	// 1000
}

func ExampleSession_Done() {
	server := startEcho()
	session := connect(server)
	session.Send("hello")
	session.Receive()
	go server.Stop()
	go session.Receive() // who does not receive does not learn of the peer's end
	<-session.Done()
	fmt.Println(session.Err())
	// Output: EOF
}

func ExampleSession_Stats() {
	server := startEcho()
	defer server.Stop()
	session := connect(server)
	session.Send("hello")
	session.Receive()
	session.Close()
	stats := session.Stats()
	fmt.Println(stats.MessagesOut, stats.BytesOut, stats.MessagesIn, stats.BytesIn, stats.Discarded)
	// Output: 1 6 1 6 0
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

// A chat's clients may say two things at once, and one in 20 ms from then on. Whoever says more waits: nothing is lost.
func ExampleRateLimit() {
	server, err := libnet.Serve("tcp", "127.0.0.1:0", lines, 16)
	if err != nil {
		log.Fatal(err)
	}
	server.RateLimit = libnet.RateLimit{Messages: 2, Per: 40 * time.Millisecond}
	go server.ServeMessages(libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) { s.Send(msg) }))
	defer server.Stop()
	session := connect(server)
	defer session.Close()

	begun := time.Now()
	for i := range 5 {
		session.Send(fmt.Sprint("message ", i))
	}
	for range 5 {
		msg, _ := session.Receive()
		fmt.Printf("%s\n", msg)
	}
	fmt.Println(time.Since(begun) >= 3*20*time.Millisecond)
	// Output:
	// message 0
	// message 1
	// message 2
	// message 3
	// message 4
	// true
}

// With End a peer that sends too much is told so by its session's end.
func ExampleRateLimit_end() {
	server, err := libnet.Serve("tcp", "127.0.0.1:0", lines, 16)
	if err != nil {
		log.Fatal(err)
	}
	server.RateLimit = libnet.RateLimit{Messages: 10, Bytes: 1 << 20, End: true}
	ended := make(chan error)
	go server.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
		for {
			if _, err := s.Receive(); err != nil {
				ended <- err
				return
			}
		}
	}))
	defer server.Stop()
	session := connect(server)
	defer session.Close()

	for range 100 {
		session.Send("buy now")
	}
	err = <-ended
	fmt.Println(err, libnet.CloseReason(err))
	// Output: libnet: rate limit exceeded rate_limit
}

// The name is for people: the log has it, and package monitor.
func ExampleSession_SetName() {
	server := startEcho()
	session := connect(server)
	defer session.Close()
	if err := session.Send("ann"); err != nil {
		log.Fatal(err)
	}
	if _, err := session.Receive(); err != nil {
		log.Fatal(err)
	}
	for s := range server.Manager().All() {
		s.SetName("ann") // as a handler does once it knows who that is
		fmt.Println(s.Name(), "over", s.ConnInfo().Transport)
	}
	server.Stop()
	fmt.Println("the last that closed:", server.LastClosed()[0].Name)
	// Output:
	// ann over tcp
	// the last that closed: ann
}

// A user's own reason counts as error, one that wraps libnet's by its name.
func ExampleCloseReason() {
	for _, err := range []error{
		io.EOF,
		libnet.ErrIdleTimeout,
		fmt.Errorf("banned: %w", libnet.ErrSessionClosed),
		errors.New("banned"),
	} {
		fmt.Println(libnet.CloseReason(err))
	}
	// Output:
	// eof
	// idle_timeout
	// closed
	// error
}
