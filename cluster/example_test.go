package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/cluster"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/libnettest"
)

// twoNodes starts a cluster of two, in one process for once.
func twoNodes() (a, b *cluster.Node) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	a, err := cluster.New(ctx, cluster.Options{NodeID: "a", Logger: quiet, Listen: "127.0.0.1:0"})
	if err != nil {
		log.Fatal(err)
	}
	b, err = cluster.New(ctx, cluster.Options{NodeID: "b", Logger: quiet, Listen: "127.0.0.1:0", Routes: []string{a.RouteAddr().String()}})
	if err != nil {
		log.Fatal(err)
	}
	return a, b
}

// connect returns both ends of a session.
func connect(server *libnet.Server) (*libnet.Session, net.Conn) {
	client, conn := libnettest.Pipe()
	session, err := server.NewSession(conn)
	if err != nil {
		log.Fatal(err)
	}
	return session, client
}

func newExampleServer() *libnet.Server {
	server := libnet.NewServer(libnettest.NewListener(), codec.New(codec.Lines, codec.Bytes), 64)
	server.Logger = quiet
	return server
}

func receive(conn net.Conn) string {
	buf := make([]byte, 128)
	n, _ := conn.Read(buf)
	return string(buf[:n])
}

// Bob is at node b; a message that is sent at node a is in his session's queue when Send returns.
func Example() {
	a, b := twoNodes()
	defer a.Close()
	defer b.Close()
	server := newExampleServer()
	defer server.Stop()
	ctx := context.Background()

	session, bob := connect(server)
	if err := b.Bind(ctx, session, "bob"); err != nil { // his login was checked before
		log.Fatal(err)
	}
	fmt.Println(a.Send(ctx, "bob", []byte("hello bob")))
	fmt.Print(receive(bob))
	fmt.Println(errors.Is(a.Send(ctx, "eve", []byte("hello?")), cluster.ErrOffline))
	// Output:
	// <nil>
	// hello bob
	// true
}

// Nodes that run their own server need the route address of one other node, and wait until they have met.
func ExampleNew() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	first, err := cluster.New(ctx, cluster.Options{NodeID: "a", Logger: quiet, Listen: "127.0.0.1:0"})
	if err != nil {
		log.Fatal(err)
	}
	defer first.Close()
	second, err := cluster.New(ctx, cluster.Options{NodeID: "b", Logger: quiet, Listen: "127.0.0.1:0", Routes: []string{first.RouteAddr().String()}})
	if err != nil {
		log.Fatal(err)
	}
	defer second.Close()
	fmt.Println(second.ID(), "takes payloads of", second.MaxPayload(), "bytes")

	_, err = cluster.New(ctx, cluster.Options{Listen: "0.0.0.0:6222"})
	fmt.Println(err)
	// Output:
	// b takes payloads of 1048576 bytes
	// cluster: Options.Listen "0.0.0.0:6222" can be reached from other machines: it needs Options.TLS and Options.Secret, for whoever reaches it speaks for every user
}

// Several nodes of one process, or of one machine, on one server.
func ExampleNewServer() {
	ctx := context.Background()
	server, err := cluster.NewServer(ctx, cluster.Options{Logger: quiet})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	for _, id := range []string{"a", "b"} {
		node, err := cluster.New(ctx, cluster.Options{NodeID: id, Logger: quiet, Servers: []string{server.URL()}})
		if err != nil {
			log.Fatal(err)
		}
		defer node.Close()
		fmt.Println(node.ID(), "is one of", len(node.Nodes()))
	}
	// Output:
	// a is one of 1
	// b is one of 2
}
