package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/cluster"
	"github.com/libnet-go/libnet/mux"
)

type (
	Ask     struct{ User string }
	Balance struct{ Coins int }
)

// accounts has the handlers of a service; those of a server's clients may be in the same Mux.
func accounts() *mux.Mux {
	m := mux.New(mux.JSON)
	mux.Handle(m, "balance", func(_ context.Context, _ *libnet.Session, ask *Ask) (*Balance, error) {
		if ask.User != "ann" {
			return nil, &mux.Error{Code: 404, Text: "no account"}
		}
		return &Balance{Coins: 7}, nil
	})
	return m
}

// Servers call each other: any of those that serve "accounts" answers, with the handlers of a mux.
func ExampleNode_Serve() {
	a, b := twoNodes()
	defer a.Close()
	defer b.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	serving, err := b.Serve("accounts", accounts(), cluster.ServeOptions{})
	if err != nil {
		log.Fatal(err)
	}
	if err := b.Sync(ctx); err != nil { // all nodes know
		log.Fatal(err)
	}

	peer := mux.New(mux.JSON).Over(a.Service("accounts"))
	balance, err := mux.Call[Ask, Balance](ctx, peer, "balance", &Ask{User: "ann"})
	fmt.Println(balance.Coins, err)
	_, err = mux.Call[Ask, Balance](ctx, peer, "balance", &Ask{User: "eve"})
	fmt.Println(err)
	fmt.Println(serving.Drain(ctx)) // what it was asked, it has answered
	// Output:
	// 7 <nil>
	// libnet: mux: error 404: no account
	// <nil>
}

// A service may be called with bytes, too.
func ExampleService_Carry() {
	a, b := twoNodes()
	defer a.Close()
	defer b.Close()
	_, err := a.Service("accounts").Carry(context.Background(), []byte(`{}`))
	fmt.Println(errors.Is(err, cluster.ErrNoService))
	// Output:
	// true
}

// tenant is an Answerer that tells who its caller works for.
type tenant struct{}

func (tenant) Answer(ctx context.Context, _ []byte) ([]byte, error) {
	h := cluster.HeaderOf(ctx)
	return []byte(h["tenant"] + " " + h["traceparent"]), nil
}

// A header travels beside a call; the trace, and nothing else, with the calls that its handler makes.
func ExampleWithHeader() {
	node, err := cluster.New(context.Background(), cluster.Options{Logger: quiet})
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close()
	if _, err := node.Serve("who", tenant{}, cluster.ServeOptions{}); err != nil {
		log.Fatal(err)
	}
	ctx := cluster.WithHeader(context.Background(), cluster.Header{
		"tenant":      "acme",
		"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	})
	reply, err := node.Service("who").Carry(ctx, nil)
	fmt.Println(string(reply), err)
	// Output:
	// acme 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 <nil>
}

type spanKey struct{}

// A tracer of one's own gives each call its trace, and takes it out again.
func ExampleTrace() {
	node, err := cluster.New(context.Background(), cluster.Options{Logger: quiet, Trace: cluster.Trace{
		Inject: func(ctx context.Context, h cluster.Header) { h["traceparent"], _ = ctx.Value(spanKey{}).(string) },
		Extract: func(ctx context.Context, h cluster.Header) context.Context {
			return context.WithValue(ctx, spanKey{}, h["traceparent"])
		},
	}})
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close()
	if _, err := node.Serve("who", tenant{}, cluster.ServeOptions{}); err != nil {
		log.Fatal(err)
	}
	ctx := context.WithValue(context.Background(), spanKey{}, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	reply, err := node.Service("who").Carry(ctx, nil)
	fmt.Printf("%s, %v\n", reply, err)
	// Output:
	//  00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01, <nil>
}
