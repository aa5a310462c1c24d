package libnet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
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
