package mux_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/mux"
)

// A login that ends the session where it fails: OnSession gives the first message to a Mux that knows nothing else. Who
// is refused is told so first, and Config.HandshakeTimeout bounds all of it. The handlers behind it see those who have
// logged in, and no others.
func ExampleMux_ServeMessage_login() {
	door, inside := mux.New(mux.JSON), mux.New(mux.JSON)
	mux.Handle(door, "login", logIn) // sets the session's State
	mux.Handle(inside, "who", func(_ context.Context, s *libnet.Session, _ *struct{}) (*Say, error) {
		return &Say{s.State.(string)}, nil
	})
	listener := libnettest.NewListener()
	server := libnet.NewServer(listener, codec.New(codec.Uint32BE, inside), 64)
	server.Logger = slog.New(slog.DiscardHandler)
	server.OnSession = func(s *libnet.Session) error {
		msg, err := s.Receive()
		if err != nil {
			return err
		}
		door.ServeMessage(s, msg)
		if s.State == nil {
			return errors.New("no login")
		}
		return nil
	}
	go server.ServeMessages(inside)
	defer server.Stop()

	client := mux.New(mux.JSON)
	dialer := libnet.Dialer{Protocol: codec.New(codec.Uint32BE, client)}
	dialer.SendQueue = 64
	for _, password := range []string{"guess", "secret"} {
		conn, err := listener.Dial()
		if err != nil {
			panic(err)
		}
		s, err := dialer.NewSession(conn)
		if err != nil {
			panic(err)
		}
		peer := client.Start(s)
		welcome, err := mux.Call[Login, Welcome](context.Background(), peer, "login", &Login{"ann", password})
		if err != nil {
			<-s.Done()
			fmt.Println(err, "and then", s.Err())
			continue
		}
		who, err := mux.Call[struct{}, Say](context.Background(), peer, "who", nil)
		fmt.Println(welcome.Rooms, who.Text, err)
		s.Close()
	}
	// Output:
	// libnet: mux: error 401: who are you? and then EOF
	// [lobby] ann <nil>
}
