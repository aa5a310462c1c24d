package mux_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/mux"
	"github.com/libnet-go/libnet/reconnect"
	"github.com/libnet-go/libnet/ws"
)

type Login struct{ User, Password string }

type Welcome struct{ Rooms []string }

type Say struct{ Text string }

// logIn is the handler of the examples.
func logIn(_ context.Context, s *libnet.Session, req *Login) (*Welcome, error) {
	if req.Password != "secret" {
		return nil, &mux.Error{Code: 401, Text: "who are you?"}
	}
	s.State = req.User
	return &Welcome{Rooms: []string{"lobby"}}, nil
}

// serve serves m in memory, and returns a session with a client.
func serve(m, client *mux.Mux) (s *libnet.Session, stop func()) {
	listener := libnettest.NewListener()
	server := libnet.NewServer(listener, codec.New(codec.Uint32BE, m), 64)
	go server.ServeMessages(m)
	conn, err := listener.Dial()
	if err != nil {
		panic(err)
	}
	dialer := libnet.Dialer{Protocol: codec.New(codec.Uint32BE, client)}
	dialer.SendQueue = 64
	s, err = dialer.NewSession(conn)
	if err != nil {
		panic(err)
	}
	return s, func() { s.Close(); server.Stop() }
}

func Example() {
	m := mux.New(mux.JSON)
	mux.Handle(m, "login", logIn)
	protocol := codec.New(codec.Uint32BE, m)
	server, err := libnet.Serve("tcp", "localhost:0", protocol, 64)
	if err != nil {
		fmt.Println(err)
		return
	}
	go server.ServeMessages(m)
	defer server.Stop()

	client := mux.New(mux.JSON)
	s, err := libnet.Connect("tcp", server.Listener().Addr().String(), codec.New(codec.Uint32BE, client), 64)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	peer := client.Start(s)
	for _, password := range []string{"secrte", "secret"} {
		welcome, err := mux.Call[Login, Welcome](context.Background(), peer, "login", &Login{"ann", password})
		var refused *mux.Error
		switch {
		case errors.As(err, &refused):
			fmt.Println(refused.Code, refused.Text)
		case err == nil:
			fmt.Println(welcome.Rooms)
		}
	}
	// Output:
	// 401 who are you?
	// [lobby]
}

// One registration serves TCP and WebSocket. What a browser sends and gets is JSON.
func Example_webSocket() {
	m := mux.New(mux.JSON)
	mux.Handle(m, "login", logIn)
	server := libnet.NewServer(libnettest.NewListener(), codec.New(codec.Uint32BE, m), 64)
	defer server.Stop()
	handler := http.NewServeMux()
	handler.Handle("/ws", ws.MessageHandler(server, m, &ws.HandlerOptions{Text: true}))
	site := httptest.NewServer(handler)
	defer site.Close()

	browser := &libnet.Dialer{Protocol: codec.New(codec.Uint32BE, codec.Bytes)}
	s, err := ws.Dial(context.Background(), site.URL+"/ws", browser, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	s.Send(`{"type":"login","id":1,"data":{"User":"ann","Password":"secret"}}`)
	msg, _ := s.Receive()
	fmt.Printf("%s\n", msg)
	s.Send(`{"type":"dance","id":2}`)
	msg, _ = s.Receive()
	fmt.Printf("%s\n", msg)
	// Output:
	// {"type":"login","reply":1,"data":{"Rooms":["lobby"]}}
	// {"type":"dance","reply":2,"error":{"code":404,"text":"unknown kind \"dance\""}}
}

func ExampleHandle() {
	m := mux.New(mux.JSON)
	mux.Handle(m, "upper", func(_ context.Context, _ *libnet.Session, req *Say) (*Say, error) {
		return &Say{strings.ToUpper(req.Text)}, nil
	})
	client := mux.New(mux.JSON)
	s, stop := serve(m, client)
	defer stop()
	reply, err := mux.Call[Say, Say](context.Background(), client.Start(s), "upper", &Say{"hello"})
	fmt.Println(reply.Text, err)
	// Output: HELLO <nil>
}

func ExampleOn() {
	heard := make(chan string)
	m := mux.New(mux.JSON)
	mux.On(m, "say", func(_ context.Context, _ *libnet.Session, msg *Say) error {
		heard <- msg.Text
		return nil
	})
	s, stop := serve(m, mux.New(mux.JSON))
	defer stop()
	s.Send(mux.Message{Kind: "say", Body: &Say{"hello"}})
	fmt.Println(<-heard)
	// Output: hello
}

func ExampleCall() {
	m, client := mux.New(mux.JSON), mux.New(mux.JSON)
	mux.Handle(m, "login", logIn)
	s, stop := serve(m, client)
	defer stop()
	peer := client.Start(s)
	_, err := mux.Call[Login, Welcome](context.Background(), peer, "login", &Login{User: "ann"})
	var refused *mux.Error
	fmt.Println(errors.As(err, &refused), refused.Code)

	s.Close()
	_, err = mux.Call[Login, Welcome](context.Background(), peer, "login", &Login{User: "ann"})
	fmt.Println(err)
	// Output:
	// true 401
	// libnet: session closed
}

// A handler that calls its own session's peer is Concurrent: replies are received while it waits for one.
func ExampleConcurrent() {
	m, client := mux.New(mux.JSON), mux.New(mux.JSON)
	mux.Handle(m, "delete", func(ctx context.Context, s *libnet.Session, req *Say) (*Say, error) {
		sure, err := mux.Call[Say, Say](ctx, m.Peer(s), "confirm", &Say{"delete " + req.Text + "?"})
		if err != nil {
			return nil, err
		}
		return &Say{"the answer was " + sure.Text}, nil
	}, mux.Concurrent(4))
	mux.Handle(client, "confirm", func(_ context.Context, _ *libnet.Session, question *Say) (*Say, error) {
		fmt.Println(question.Text)
		return &Say{"no"}, nil
	})
	s, stop := serve(m, client)
	defer stop()
	done, err := mux.Call[Say, Say](context.Background(), client.Start(s), "delete", &Say{"everything"})
	fmt.Println(done.Text, err)
	// Output:
	// delete everything?
	// the answer was no <nil>
}

// Message is what a server sends to many: it is encoded once.
func ExampleMessage() {
	m, client := mux.New(mux.JSON), mux.New(mux.JSON)
	var room libnet.Group[string]
	mux.On(m, "join", func(_ context.Context, s *libnet.Session, who *Say) error {
		room.Put(who.Text, s)
		room.Broadcast(mux.Message{Kind: "said", Body: &Say{who.Text + " has come"}})
		return nil
	})
	heard := make(chan string)
	mux.On(client, "said", func(_ context.Context, _ *libnet.Session, msg *Say) error {
		heard <- msg.Text
		return nil
	})
	s, stop := serve(m, client)
	defer stop()
	client.Start(s)
	s.Send(mux.Message{Kind: "join", Body: &Say{"ann"}})
	fmt.Println(<-heard)
	// Output: ann has come
}

func ExampleBinary() {
	envelope := mux.Binary(mux.JSONBody)
	upper := mux.Number(5)
	msg, err := envelope.Append(nil, mux.Header{Kind: upper, ID: 1}, &Say{"hello"})
	fmt.Printf("%q %v\n", msg, err)
	// Output: "\x05\x04{\"Text\":\"hello\"}" <nil>
}

func ExampleJSON() {
	msg, err := mux.JSON.Append(nil, mux.Header{Kind: "say", ID: 7}, &Say{"hello"})
	fmt.Printf("%s %v\n", msg, err)
	// Output: {"type":"say","id":7,"data":{"Text":"hello"}} <nil>
}

// The kind is in field 1 of the message itself, and replies come in order.
func ExampleProto() {
	const errorKind = 90001
	envelope := mux.Proto(errorKind)
	msg, err := envelope.Append(nil, mux.Header{Kind: mux.Number(20002)}, wrapperspb.UInt32(20002))
	fmt.Printf("%x %v\n", msg, err)
	// Output: 08a29c01 <nil>
}

func ExampleNumber() {
	ping := mux.Number(20002)
	n, ok := ping.Number()
	fmt.Println(ping, n, ok)
	// Output: 20002 20002 true
}

// A server calls its clients as they call it.
func ExampleMux_Peer() {
	m, client := mux.New(mux.JSON), mux.New(mux.JSON)
	mux.Handle(client, "version", func(context.Context, *libnet.Session, *struct{}) (*Say, error) {
		return &Say{"1.2"}, nil
	})
	answers := make(chan string)
	mux.On(m, "hello", func(_ context.Context, s *libnet.Session, _ *struct{}) error {
		go func() { // it may take its time
			version, err := mux.Call[struct{}, Say](context.Background(), m.Peer(s), "version", nil)
			answers <- fmt.Sprint(version.Text, " ", err)
		}()
		return nil
	})
	s, stop := serve(m, client)
	defer stop()
	client.Start(s)
	s.Send(mux.Message{Kind: "hello"})
	fmt.Println(<-answers)
	// Output: 1.2 <nil>
}

func ExampleMux_Start() {
	m, client := mux.New(mux.JSON), mux.New(mux.JSON)
	mux.Handle(m, "login", logIn)
	s, stop := serve(m, client)
	defer stop()
	peer := client.Start(s) // handles what the server sends, until the session ends
	welcome, err := mux.Call[Login, Welcome](context.Background(), peer, "login", &Login{"ann", "secret"})
	fmt.Println(welcome.Rooms, err)
	// Output: [lobby] <nil>
}

// A program that only calls needs no goroutine for what it receives.
func ExampleMux_SyncPeer() {
	m, client := mux.New(mux.JSON), mux.New(mux.JSON)
	mux.Handle(m, "login", logIn)
	s, stop := serve(m, client)
	defer stop()
	welcome, err := mux.Call[Login, Welcome](context.Background(), client.SyncPeer(s), "login", &Login{"ann", "secret"})
	fmt.Println(welcome.Rooms, err)
	// Output: [lobby] <nil>
}

// A client that reconnects, whose login is a call.
func ExampleMux_Through() {
	m, client := mux.New(mux.JSON), mux.New(mux.JSON)
	mux.Handle(m, "login", logIn)
	listener := libnettest.NewListener()
	server := libnet.NewServer(listener, codec.New(codec.Uint32BE, m), 64)
	go server.ServeMessages(m)
	defer server.Stop()

	dialer := libnet.Dialer{Protocol: codec.New(codec.Uint32BE, client)}
	link := &reconnect.Client{
		Dial: func(context.Context) (*libnet.Session, error) {
			var conn net.Conn
			conn, err := listener.Dial()
			if err != nil {
				return nil, err
			}
			return dialer.NewSession(conn)
		},
		OnConnect: func(ctx context.Context, s *libnet.Session) error {
			_, err := mux.Call[Login, Welcome](ctx, client.SyncPeer(s), "login", &Login{"ann", "secret"})
			var refused *mux.Error
			if errors.As(err, &refused) {
				return reconnect.Permanent(err) // another attempt is of no use
			}
			return err
		},
		Handler: client,
	}
	link.Start()
	defer link.Close()
	welcome, err := mux.Call[Login, Welcome](context.Background(), client.Through(link), "login", &Login{"ann", "secret"})
	fmt.Println(welcome.Rooms, err)
	// Output: [lobby] <nil>
}

// A program with a loop of its own gives the Mux each message.
func ExampleMux_ServeMessage() {
	m, client := mux.New(mux.JSON), mux.New(mux.JSON)
	mux.Handle(m, "login", logIn)
	mux.On(client, "said", func(context.Context, *libnet.Session, *Say) error { return nil })
	s, stop := serve(m, client)
	defer stop()
	go func() {
		for {
			msg, err := s.Receive()
			if err != nil {
				return
			}
			client.ServeMessage(s, msg)
		}
	}()
	welcome, err := mux.Call[Login, Welcome](context.Background(), client.Peer(s), "login", &Login{"ann", "secret"})
	fmt.Println(welcome.Rooms, err)
	// Output: [lobby] <nil>
}

func ExampleMux_Stats() {
	m, client := mux.New(mux.JSON), mux.New(mux.JSON)
	s, stop := serve(m, client)
	defer stop()
	_, err := mux.Call[Say, Say](context.Background(), client.Start(s), "dance", nil)
	fmt.Println(err)
	fmt.Printf("%+v\n", m.Stats())
	// Output:
	// libnet: mux: error 404: unknown kind "dance"
	// {Unknown:1 BadBodies:0 Late:0 Unasked:0}
}
