package ws_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"

	"github.com/coder/websocket"
	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/ws"
)

// A server for browsers only: it shares the HTTP server's listener, so Shutdown ends both.
func ExampleHandler() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := libnet.NewServer(listener, codec.New(codec.Uint16BE, codec.JSON), 64)
	greet := libnet.HandlerFunc(func(s *libnet.Session) {
		for {
			name, err := s.Receive()
			if err != nil {
				return
			}
			s.Send(map[string]string{"hello": string(name)})
		}
	})
	served := make(chan error)
	go func() {
		served <- http.Serve(listener, ws.Handler(server, greet, &ws.HandlerOptions{Text: true}))
	}()

	// What a browser does. The payload is the JSON; the Uint16BE framing stays on other transports.
	ctx := context.Background()
	browser, _, err := websocket.Dial(ctx, "ws://"+listener.Addr().String(), nil)
	if err != nil {
		log.Fatal(err)
	}
	browser.Write(ctx, websocket.MessageText, []byte("browser"))
	_, answer, err := browser.Read(ctx)
	fmt.Println(string(answer), err)

	go server.Shutdown(ctx)
	_, _, err = browser.Read(ctx)
	fmt.Println(websocket.CloseStatus(err))
	<-served
	// Output:
	// {"hello":"browser"} <nil>
	// StatusGoingAway
}

func ExampleDial() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	protocol := codec.New(codec.Uint16BE, codec.Bytes)
	server := libnet.NewServer(listener, protocol, 64)
	go http.Serve(listener, ws.Handler(server, echo, nil))
	defer server.Stop()

	d := &libnet.Dialer{Protocol: protocol}
	session, err := ws.Dial(context.Background(), "ws://"+listener.Addr().String(), d, &ws.DialOptions{
		Header: http.Header{"Authorization": {"Bearer of the token"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	session.Send("hello")
	msg, err := session.Receive()
	fmt.Printf("%s %v\n", msg, err)
	fmt.Println(session.Shutdown(context.Background()))
	// Output:
	// hello <nil>
	// <nil>
}
