package ws_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/ws"
)

// WebSockets in event mode, on the server's own listener.
func ExampleProtocol() {
	protocol := ws.Protocol(codec.New(codec.Uint16BE, codec.JSON), &ws.HandlerOptions{
		Text: true,
		Check: func(r *http.Request) error {
			if _, err := r.Cookie("user"); err != nil {
				return &ws.HandshakeError{StatusCode: http.StatusUnauthorized}
			}
			return nil
		},
	})
	server, err := libnet.Serve("tcp", "127.0.0.1:0", protocol, 64)
	if err != nil {
		log.Fatal(err)
	}
	server.Logger = slog.New(slog.DiscardHandler)
	server.HandshakeTimeout = 10 * time.Second
	go server.ServeMessages(libnet.MessageHandlerFunc(func(s *libnet.Session, name []byte) {
		s.Send(map[string]string{"hello": string(name), "at": ws.Request(s).URL.Path})
	}))
	defer server.Stop()

	ctx := context.Background()
	url := "ws://" + server.Listener().Addr().String() + "/lobby"
	_, answer, _ := websocket.Dial(ctx, url, nil)
	fmt.Println(answer.Status)

	browser, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPHeader: http.Header{"Cookie": {"user=ann"}}})
	if err != nil {
		log.Fatal(err)
	}
	defer browser.CloseNow()
	browser.Write(ctx, websocket.MessageText, []byte("ann"))
	_, greeting, err := browser.Read(ctx)
	fmt.Println(string(greeting), err)
	// Output:
	// 401 Unauthorized
	// {"at":"/lobby","hello":"ann"} <nil>
}

// Messages of 512 bytes and more are compressed, both ways.
func ExampleHandlerOptions_compression() {
	framing := codec.New(codec.Uint32BE, codec.Bytes)
	server, err := libnet.Serve("tcp", "127.0.0.1:0", ws.Protocol(framing, &ws.HandlerOptions{CompressFrom: 512}), 64)
	if err != nil {
		log.Fatal(err)
	}
	server.Logger = slog.New(slog.DiscardHandler)
	go server.ServeMessages(libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) { s.Send(msg) }))

	ctx := context.Background()
	d := &libnet.Dialer{Protocol: framing}
	client, err := ws.Dial(ctx, "ws://"+server.Listener().Addr().String(), d, &ws.DialOptions{CompressFrom: 512})
	if err != nil {
		log.Fatal(err)
	}
	client.Send(strings.Repeat("<li>again</li>", 5000))
	msg, err := client.Receive()
	fmt.Println(len(msg), err)

	client.Close()
	server.Shutdown(ctx)
	stats := server.Stats()
	fmt.Println(stats.BytesIn < 1000, stats.BytesOut < 1000)
	// Output:
	// 70000 <nil>
	// true true
}

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

// Chat rooms by path, for those who have a cookie. Middleware answers with an HTTP status, which browsers show nobody;
// OnSession with a close code, which they do.
func ExampleRequest() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := libnet.NewServer(listener, codec.New(codec.Uint16BE, codec.Bytes), 64)
	server.Logger = slog.New(slog.DiscardHandler)
	server.OnSession = func(s *libnet.Session) error {
		if _, err := ws.Request(s).Cookie("user"); err != nil {
			return websocket.CloseError{Code: 4001, Reason: "log in first"}
		}
		return nil
	}
	join := libnet.HandlerFunc(func(s *libnet.Session) {
		user, _ := ws.Request(s).Cookie("user")
		s.Send(fmt.Sprintf("%s is in %s, speaking %s", user.Value, ws.Request(s).URL.Path, ws.Subprotocol(s)))
	})
	o := &ws.HandlerOptions{Subprotocols: []string{"chat.v2", "chat.v1"}}
	go http.Serve(listener, ws.Handler(server, join, o))
	defer server.Stop()

	d := &libnet.Dialer{Protocol: codec.New(codec.Uint16BE, codec.Bytes)}
	for _, cookie := range []string{"user=ann", "none=0"} {
		s, err := ws.Dial(context.Background(), "ws://"+listener.Addr().String()+"/lobby", d, &ws.DialOptions{
			Header:       http.Header{"Cookie": {cookie}},
			Subprotocols: []string{"chat.v1"},
		})
		if err != nil {
			log.Fatal(err)
		}
		msg, err := s.Receive()
		fmt.Printf("%s %d\n", msg, websocket.CloseStatus(err))
		s.Close()
	}
	// Output:
	// ann is in /lobby, speaking chat.v1 -1
	//  4001
}

func ExampleHandshakeError() {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "120")
		http.Error(w, "back soon", http.StatusServiceUnavailable)
	}))
	defer web.Close()

	d := &libnet.Dialer{Protocol: codec.New(codec.Uint16BE, codec.Bytes)}
	_, err := ws.Dial(context.Background(), web.URL, d, nil)
	var answer *ws.HandshakeError
	if errors.As(err, &answer) {
		fmt.Printf("%d, again in %s s: %s", answer.StatusCode, answer.Header.Get("Retry-After"), answer.Body)
	}
	// Output:
	// 503, again in 120 s: back soon
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

// Pages and sessions share a port, and a session that waits has no goroutine.
func ExampleMessageHandler() {
	protocol := codec.New(codec.Uint16BE, codec.Bytes)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := libnet.NewServer(listener, protocol, 64)
	server.Logger = slog.New(slog.DiscardHandler)
	mux := http.NewServeMux()
	mux.Handle("/ws", ws.MessageHandler(server, libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) {
		s.Send("you said " + string(msg))
	}), nil))
	web := httptest.NewServer(mux)
	defer web.Close()

	client, err := ws.Dial(context.Background(), "ws"+strings.TrimPrefix(web.URL, "http")+"/ws", &libnet.Dialer{Protocol: protocol}, nil)
	if err != nil {
		log.Fatal(err)
	}
	client.Send("hello")
	answer, _ := client.Receive()
	fmt.Println(string(answer))

	client.Close()
	server.Shutdown(context.Background())
	// Output: you said hello
}

// An HTTP server with TLS whose sessions the event loop serves.
func ExampleTLSListener() {
	web := httptest.NewUnstartedServer(nil)
	web.StartTLS() // for its certificate
	defer web.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	protocol := codec.New(codec.Uint16BE, codec.Bytes)
	server := libnet.NewServer(listener, protocol, 64)
	handler := ws.MessageHandler(server, libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) {
		_, secure := s.TLS()
		s.Send(fmt.Sprintf("%s, secure: %v", msg, secure))
	}), nil)
	go http.Serve(ws.TLSListener(listener, &tls.Config{Certificates: web.TLS.Certificates}), handler)
	defer server.Stop()

	d := &libnet.Dialer{Protocol: protocol, TLSConfig: web.Client().Transport.(*http.Transport).TLSClientConfig}
	session, err := ws.Dial(context.Background(), "wss://"+listener.Addr().String(), d, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()
	session.Send("hello")
	msg, err := session.Receive()
	fmt.Printf("%s %v\n", msg, err)
	// Output:
	// hello, secure: true <nil>
}
