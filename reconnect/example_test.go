package reconnect_test

import (
	"context"
	"fmt"
	"log"
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
	client.Send("hello") // held until there is a session
	client.Start()
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
