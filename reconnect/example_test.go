package reconnect_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/reconnect"
)

func Example() {
	protocol := codec.New(codec.Uint16BE, codec.Bytes)
	server, err := libnet.Serve("tcp", "127.0.0.1:0", protocol, 64)
	if err != nil {
		log.Fatal(err)
	}
	go server.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
		user, err := s.Receive()
		for err == nil {
			var msg []byte
			if msg, err = s.Receive(); err == nil {
				s.Send(fmt.Sprintf("%s said %s", user, msg))
			}
		}
	}))
	defer server.Stop()

	dialer := &libnet.Dialer{Protocol: protocol}
	dialer.SendQueue = 64
	received := make(chan bool)
	client := &reconnect.Client{
		Dial: func(ctx context.Context) (*libnet.Session, error) {
			return dialer.Dial(ctx, "tcp", server.Listener().Addr().String())
		},
		OnConnect: func(ctx context.Context, s *libnet.Session) error {
			fmt.Println("logging in")
			return s.Send("gopher")
		},
		Handler: libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) {
			fmt.Println(string(msg))
			received <- true
		}),
		MinBackoff: 10 * time.Millisecond,
	}
	client.Start()
	client.Send("hello") // held until there is a session
	<-received

	connected := client.Session()
	for s := range server.Manager().All() {
		s.Close() // as if the connection had broken
	}
	<-connected.Done() // the client has noticed
	client.Send("hello again")
	<-received

	fmt.Println(client.Shutdown(context.Background()))
	<-client.Done()
	// Output:
	// logging in
	// gopher said hello
	// logging in
	// gopher said hello again
	// <nil>
}

// A password that is wrong will be wrong the next time, too: the client ends, and whoever waits learns why.
func ExamplePermanent() {
	server, err := libnet.Serve("tcp", "127.0.0.1:0", codec.New(codec.Uint16BE, codec.Bytes), 64)
	if err != nil {
		log.Fatal(err)
	}
	go server.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
		s.Receive()
		s.Send("wrong password")
	}))
	defer server.Stop()

	errRefused := errors.New("login refused")
	client := &reconnect.Client{
		Dial: func(ctx context.Context) (*libnet.Session, error) {
			return libnet.Connect("tcp", server.Listener().Addr().String(), codec.New(codec.Uint16BE, codec.Bytes), 64)
		},
		OnConnect: func(ctx context.Context, s *libnet.Session) error {
			if err := s.Send("gopher secret"); err != nil {
				return err // another attempt follows
			}
			answer, err := s.Receive()
			if err == nil && string(answer) != "welcome" {
				return reconnect.Permanent(fmt.Errorf("%w: %s", errRefused, answer))
			}
			return err
		},
		Logger: slog.New(slog.DiscardHandler),
	}
	client.Start()
	_, err = client.Ready(context.Background())
	fmt.Println(err)
	<-client.Done()
	fmt.Println(errors.Is(client.Err(), errRefused))
	// Output:
	// login refused: wrong password
	// true
}

func ExampleClient_Ready() {
	protocol := codec.New(codec.Uint16BE, codec.Bytes)
	server, err := libnet.Serve("tcp", "127.0.0.1:0", protocol, 64)
	if err != nil {
		log.Fatal(err)
	}
	go server.Serve(libnet.HandlerFunc(func(s *libnet.Session) { s.Receive() }))
	defer server.Stop()

	client := &reconnect.Client{Dial: func(ctx context.Context) (*libnet.Session, error) {
		return libnet.Connect("tcp", server.Listener().Addr().String(), protocol, 64)
	}}
	client.Start()
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s, err := client.Ready(ctx)
	fmt.Println(s == client.Session(), err)
	// Output: true <nil>
}
