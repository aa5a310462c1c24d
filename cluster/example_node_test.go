package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"

	"github.com/libnet-go/libnet/cluster"
	"github.com/nats-io/nats.go/jetstream"
)

// A user who logs in again has the new session only, wherever the old one was.
func ExampleNode_Bind() {
	a, b := twoNodes()
	defer a.Close()
	defer b.Close()
	server := newExampleServer()
	defer server.Stop()
	ctx := context.Background()

	phone, _ := connect(server)
	laptop, _ := connect(server)
	fmt.Println(a.Bind(ctx, phone, "bob"))
	fmt.Println(b.Bind(ctx, laptop, "bob"))
	<-phone.Done()
	fmt.Println(phone.Err(), "-", laptop.Err())
	// Output:
	// <nil>
	// <nil>
	// cluster: replaced by a later login - <nil>
}

// What is told apart after Send: he has it, he is not there, nobody knows.
func ExampleNode_Send() {
	a, b := twoNodes()
	defer a.Close()
	defer b.Close()
	server := newExampleServer()
	defer server.Stop()
	session, _ := connect(server)
	b.Bind(context.Background(), session, "bob")

	for _, user := range []string{"bob", "eve"} {
		switch err := a.Send(context.Background(), user, []byte("hello")); {
		case err == nil:
			fmt.Println(user, "has it in his session's queue")
		case errors.Is(err, cluster.ErrOffline):
			fmt.Println(user, "is offline: store it")
		case errors.Is(err, cluster.ErrDegraded):
			fmt.Println(user, "may be online where nobody can ask: store it, too")
		default:
			log.Print(err)
		}
	}
	// Output:
	// bob has it in his session's queue
	// eve is offline: store it
}

func ExampleNode_Post() {
	a, b := twoNodes()
	defer a.Close()
	defer b.Close()
	server := newExampleServer()
	defer server.Stop()
	ctx := context.Background()

	session, bob := connect(server)
	b.Bind(ctx, session, "bob")
	fmt.Println(a.Post("bob", []byte("are you there?")))
	fmt.Println(a.Post("eve", []byte("nobody will know")))
	fmt.Print(receive(bob))
	// Output:
	// <nil>
	// <nil>
	// are you there?
}

func ExampleNode_Join() {
	node, err := cluster.New(context.Background(), cluster.Options{Logger: quiet})
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close()
	server := newExampleServer()
	defer server.Stop()

	session, bob := connect(server)
	node.Join(session, "room")
	node.Broadcast("room", []byte("while he is a member"))
	fmt.Print(receive(bob))

	node.Leave(session, "room")
	node.Broadcast("room", []byte("after that"))
	fmt.Println(node.Stats().Groups, "groups")
	// Output:
	// while he is a member
	// 0 groups
}

func ExampleNode_Broadcast() {
	a, b := twoNodes()
	defer a.Close()
	defer b.Close()
	server := newExampleServer()
	defer server.Stop()

	atA, alice := connect(server)
	atB, bob := connect(server)
	a.Join(atA, "room")
	b.Join(atB, "room")
	b.Sync(context.Background()) // or else a broadcast from a, at once, might be quicker than b's Join
	a.Broadcast("room", []byte("hello room"))
	fmt.Print(receive(alice), receive(bob))
	// Output:
	// hello room
	// hello room
}

func ExampleNode_Online() {
	a, b := twoNodes()
	defer a.Close()
	defer b.Close()
	server := newExampleServer()
	defer server.Stop()
	ctx := context.Background()

	session, _ := connect(server)
	b.Bind(ctx, session, "bob")
	sessions, err := a.Online(ctx, "bob")
	fmt.Println(len(sessions), sessions[0].Node, sessions[0].Addr, err)
	// Output:
	// 1 b pipe <nil>
}

func ExampleNode_Kick() {
	a, b := twoNodes()
	defer a.Close()
	defer b.Close()
	server := newExampleServer()
	defer server.Stop()
	ctx := context.Background()

	session, _ := connect(server)
	b.Bind(ctx, session, "bob")
	closed, err := a.Kick(ctx, "bob", "maintenance")
	fmt.Println(closed, err)
	<-session.Done()
	var kicked *cluster.KickedError
	fmt.Println(errors.As(session.Err(), &kicked), kicked.Reason)
	// Output:
	// 1 <nil>
	// true maintenance
}

func ExampleNode_Nodes() {
	a, b := twoNodes()
	defer a.Close()
	defer b.Close()
	for _, node := range b.Nodes() {
		fmt.Println(node.ID, "self:", node.Self, "alive:", node.Alive, "users:", node.Users)
	}
	// Output:
	// a self: false alive: true users: 0
	// b self: true alive: true users: 0
}

// The node's connection is there for JetStream, too: messages that must outlive a crash are stored first.
func ExampleNode_Conn() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	node, err := cluster.New(ctx, cluster.Options{Logger: quiet, JetStreamDir: dir})
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close()
	js, err := jetstream.New(node.Conn())
	if err != nil {
		log.Fatal(err)
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "history", Subjects: []string{"history.>"}}); err != nil {
		log.Fatal(err)
	}
	stored, err := js.Publish(ctx, "history.bob", []byte("hello bob"))
	fmt.Println(stored.Sequence, err)
	fmt.Println(errors.Is(node.Send(ctx, "bob", []byte("sync")), cluster.ErrOffline)) // would have had bob sync, but he is offline
	// Output:
	// 1 <nil>
	// true
}

// A server that goes away hands its users over before it stops.
func ExampleNode_Drain() {
	a, b := twoNodes()
	defer b.Close()
	server := newExampleServer()
	ctx := context.Background()
	session, bob := connect(server)
	a.Bind(ctx, session, "bob")
	b.Send(ctx, "bob", []byte("the last one"))

	fmt.Println(a.Drain(ctx))
	fmt.Println(a.Bind(ctx, session, "bob"))
	fmt.Print(receive(bob))
	bob.Close()
	fmt.Println(server.Shutdown(ctx), a.Close())
	// Output:
	// <nil>
	// cluster: node is draining
	// the last one
	// <nil> <nil>
}

// A process that can no longer reach anybody takes no more users, and one whose connection is gone for good ends.
func ExampleNode_Health() {
	told := make(chan cluster.Health, 1)
	node, err := cluster.New(context.Background(), cluster.Options{
		Logger:   quiet,
		OnHealth: func(h cluster.Health, err error) { told <- h },
	})
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close()
	health, err := node.Health()
	fmt.Println(health, err)

	node.Conn().Close() // whoever does that has ended the node
	if <-told == cluster.Lost {
		fmt.Println("lost: leave the registry, and exit")
	}
	// Output:
	// whole <nil>
	// lost: leave the registry, and exit
}

// What Prometheus scrapes: the numbers of the node, beside those of package monitor for its sessions.
func ExampleMetrics() {
	node, err := cluster.New(context.Background(), cluster.Options{NodeID: "a", Logger: quiet})
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close()
	http.Handle("/metrics", cluster.Metrics(node))

	var text strings.Builder
	if err := cluster.WriteMetrics(&text, node); err != nil {
		log.Fatal(err)
	}
	for line := range strings.Lines(text.String()) {
		if strings.HasPrefix(line, "libnet_cluster_health") {
			fmt.Print(line)
		}
	}
	// Output:
	// libnet_cluster_health{node="a",state="whole"} 1
	// libnet_cluster_health{node="a",state="degraded"} 0
	// libnet_cluster_health{node="a",state="lost"} 0
}
