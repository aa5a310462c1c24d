package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/cluster"
)

// room has ann at node a and bob at node b in the group "chess", which both nodes know.
func room(server *libnet.Server, a, b *cluster.Node) {
	ctx := context.Background()
	for name, node := range map[string]*cluster.Node{"ann": a, "bob": b} {
		session, _ := connect(server)
		if err := errors.Join(node.Join(session, "chess"), node.Bind(ctx, session, name), node.Sync(ctx)); err != nil {
			log.Fatal(err)
		}
	}
}

// A broadcast whose result counts: how many have it in their queues.
func ExampleNode_BroadcastContext() {
	a, b := twoNodes()
	defer a.Close()
	defer b.Close()
	server := newExampleServer()
	defer server.Stop()
	room(server, a, b)

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	delivery, err := a.BroadcastContext(ctx, "chess", []byte("your move"))
	fmt.Printf("%d members on %d nodes, %d had no room, %v\n", delivery.Members, delivery.Nodes, delivery.Blocked, err)
	// Output:
	// 2 members on 2 nodes, 0 had no room, <nil>
}

// How many are in a room, wherever they are.
func ExampleNode_Count() {
	a, b := twoNodes()
	defer a.Close()
	defer b.Close()
	server := newExampleServer()
	defer server.Stop()
	room(server, a, b)

	fmt.Println(a.Count(context.Background(), "chess"))
	// Output:
	// 2 <nil>
}

// Who is in a room.
func ExampleNode_Members() {
	a, b := twoNodes()
	defer a.Close()
	defer b.Close()
	server := newExampleServer()
	defer server.Stop()
	room(server, a, b)

	members, err := a.Members(context.Background(), "chess")
	if err != nil {
		log.Fatal(err)
	}
	where := make(map[string]string)
	for _, m := range members {
		where[m.Users[0]] = m.Node
	}
	fmt.Println(where)
	// Output:
	// map[ann:a bob:b]
}

// A game is over: whoever is still in its room is shown out.
func ExampleNode_KickGroup() {
	a, b := twoNodes()
	defer a.Close()
	defer b.Close()
	server := newExampleServer()
	defer server.Stop()
	room(server, a, b)

	fmt.Println(a.KickGroup(context.Background(), "chess", "the table is closed"))
	// Output:
	// 2 <nil>
}

// One device of a user is closed, and no other.
func ExampleNode_KickSession() {
	a, b := twoNodes()
	defer a.Close()
	defer b.Close()
	server := newExampleServer()
	defer server.Stop()
	room(server, a, b)
	ctx := context.Background()

	sessions, err := a.Online(ctx, "bob")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(a.KickSession(ctx, sessions[0], "lost phone"))
	sessions, err = a.Online(ctx, "bob")
	fmt.Println(len(sessions), err)
	// Output:
	// <nil>
	// 0 <nil>
}

// One payload to many users, each of whom has an answer.
func ExampleNode_SendMany() {
	a, b := twoNodes()
	defer a.Close()
	defer b.Close()
	server := newExampleServer()
	defer server.Stop()
	room(server, a, b)

	users := []string{"ann", "bob", "eve"}
	for i, err := range a.SendMany(context.Background(), users, []byte("news")) {
		fmt.Println(users[i], errors.Is(err, cluster.ErrOffline), err == nil)
	}
	// Output:
	// ann false true
	// bob false true
	// eve true false
}

// What there is to say of a login is shown wherever the user is asked for.
func ExampleNode_BindWith() {
	a, b := twoNodes()
	defer a.Close()
	defer b.Close()
	server := newExampleServer()
	defer server.Stop()
	ctx := context.Background()

	session, _ := connect(server)
	about := cluster.BindOptions{Data: map[string]string{"device": "phone", "roles": "moderator"}}
	if err := b.BindWith(ctx, session, "ann", about); err != nil {
		log.Fatal(err)
	}
	sessions, err := a.Online(ctx, "ann")
	fmt.Println(sessions[0].Node, sessions[0].Data, err)
	// Output:
	// b map[device:phone roles:moderator] <nil>
}

// A user with several devices: each device is a login of its own, which its next login replaces, and the user is a
// group.
func ExampleNode_Members_devices() {
	a, b := twoNodes()
	defer a.Close()
	defer b.Close()
	server := newExampleServer()
	defer server.Stop()
	ctx := context.Background()

	login := func(node *cluster.Node, device string) *libnet.Session {
		session, _ := connect(server)
		if err := errors.Join(node.Join(session, "user/ann"), node.Bind(ctx, session, "ann/"+device), node.Sync(ctx)); err != nil {
			log.Fatal(err)
		}
		return session
	}
	lost := login(a, "phone")
	login(b, "laptop")
	login(b, "phone") // again, elsewhere
	<-lost.Done()
	fmt.Println(lost.Err())

	delivery, err := a.BroadcastContext(ctx, "user/ann", []byte("hello ann")) // no members: she is offline
	fmt.Println(delivery.Members, "devices", err)
	fmt.Println(a.Send(ctx, "ann/laptop", []byte("only there")))
	// Output:
	// cluster: replaced by a later login
	// 2 devices <nil>
	// <nil>
}
