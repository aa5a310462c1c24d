package access_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/libnet-go/libnet/cluster"
	"github.com/libnet-go/libnet/examples/im/internal/access"
	"github.com/libnet-go/libnet/examples/im/internal/client"
	"github.com/libnet-go/libnet/examples/im/internal/embedded"
	"github.com/libnet-go/libnet/examples/im/internal/history"
	"github.com/libnet-go/libnet/examples/im/internal/imtest"
	"github.com/libnet-go/libnet/examples/im/internal/token"
)

func Example() {
	if err := converse(); err != nil {
		fmt.Println(err)
	}
	// Output: user 1 says "hello" to user 2
}

// converse runs one access server and two users. The ids are those of a system with one server; others take theirs
// from package ids.
func converse() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "im")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	nats, err := embedded.StartNATS(ctx, dir)
	if err != nil {
		return err
	}
	defer nats.Stop()
	node, err := cluster.New(ctx, cluster.Options{NodeID: "access-1", Servers: []string{nats.URL()}, Logger: imtest.Quiet})
	if err != nil {
		return err
	}
	defer node.Close()
	messages, err := history.Open(ctx, node.Conn(), history.Options{})
	if err != nil {
		return err
	}
	tokens, err := token.New(token.NewKey(), "")
	if err != nil {
		return err
	}
	next := time.Now().UnixNano()
	server, err := access.Start(access.Options{
		Cluster: node, History: messages, Tokens: tokens, Logger: imtest.Quiet,
		NextID: func() (int64, error) { next++; return next, nil }, // one user sends, so one goroutine calls it
	})
	if err != nil {
		return err
	}
	defer server.Kill()

	heard := make(chan client.Message, 1)
	start := func(user int64) *client.Client {
		return client.Start(client.Options{
			Pick:      func(context.Context) (string, error) { return server.WebSocketURL(), nil },
			User:      user,
			Token:     func() string { return tokens.Issue(user, time.Hour) },
			OnMessage: func(m client.Message) { heard <- m },
			Logger:    imtest.Quiet,
		})
	}
	one, two := start(1), start(2)
	defer two.Close()
	defer one.Close()
	if err := one.Send(ctx, 2, "hello"); err != nil {
		return err
	}
	select {
	case m := <-heard:
		fmt.Printf("user %d says %q to user %d\n", m.Source, m.Text, m.Target)
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}
