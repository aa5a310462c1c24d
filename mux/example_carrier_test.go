package mux_test

import (
	"context"
	"fmt"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/mux"
)

// inProcess carries requests to a Mux of this process. Module cluster has one that carries them to other servers.
type inProcess struct{ to *mux.Mux }

func (c inProcess) Carry(ctx context.Context, request []byte) ([]byte, error) {
	return c.to.Answer(ctx, request)
}

// The handlers of a server's clients, called without a session.
func ExampleMux_Over() {
	m := mux.New(mux.JSON)
	mux.Handle(m, "login", func(ctx context.Context, _ *libnet.Session, req *Login) (*Welcome, error) {
		if req.Password != "secret" {
			return nil, &mux.Error{Code: 401, Text: "who are you?"}
		}
		return &Welcome{Rooms: []string{"lobby"}}, nil
	})
	peer := mux.New(mux.JSON).Over(inProcess{m})

	welcome, err := mux.Call[Login, Welcome](context.Background(), peer, "login", &Login{"ann", "secret"})
	fmt.Println(welcome.Rooms, err)
	_, err = mux.Call[Login, Welcome](context.Background(), peer, "login", &Login{"eve", "guess"})
	fmt.Println(err)
	// Output:
	// [lobby] <nil>
	// libnet: mux: error 401: who are you?
}

// What arrives by other means than a session is answered by the same handlers.
func ExampleMux_Answer() {
	m := mux.New(mux.JSON)
	mux.Handle(m, "double", func(_ context.Context, _ *libnet.Session, n *struct{ N int }) (*struct{ N int }, error) {
		return &struct{ N int }{2 * n.N}, nil
	})
	reply, err := m.Answer(context.Background(), []byte(`{"type":"double","id":1,"data":{"N":21}}`))
	fmt.Println(string(reply), err)
	// Output:
	// {"type":"double","reply":1,"data":{"N":42}} <nil>
}
