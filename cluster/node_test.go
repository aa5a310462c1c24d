package cluster_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/cluster"
)

func TestAMessageReachesAUserOnEveryNodeInHisSessionsOwnFraming(t *testing.T) {
	nodes := mesh(t, 3)
	server := newSessions(t, lines, nil)
	for i, node := range nodes {
		user := "user " + node.ID()
		_, client := server.bound(node, user)
		for _, from := range nodes {
			send(t, from, user, "from "+from.ID())
			read(t, client, "from "+from.ID()+"\n")
		}
		_ = i
	}
}

func TestAUserWhoIsNowhereIsOffline(t *testing.T) {
	nodes := mesh(t, 3)
	server := newSessions(t, lines, nil)
	wantOffline(t, nodes[0], "nobody")
	session, _ := server.bound(nodes[1], "somebody")
	send(t, nodes[0], "somebody", "hello")
	session.Close()
	wantOffline(t, nodes[0], "somebody")
	wantOffline(t, nodes[1], "somebody")
}

func TestASendThatBeginsAfterBindSeesTheUserFromEveryNode(t *testing.T) {
	nodes := mesh(t, 3)
	server := newSessions(t, lines, nil)
	for i := range 300 {
		user := "u" + strings.Repeat("x", i%200)
		session, client := server.bound(nodes[i%3], user)
		// Post has no second chance: it sees the user or it is lost.
		if err := nodes[(i+1)%3].Post(user, []byte("now")); err != nil {
			t.Fatal(err)
		}
		read(t, client, "now\n")
		session.Close()
		client.Close()
	}
}

func TestNamesOfUsersAreNeverWildcards(t *testing.T) {
	nodes := mesh(t, 2)
	server := newSessions(t, lines, nil)
	names := []string{"*", ">", "a.b", "a b", "a\r\nPUB x 1", "ä", "\x00", strings.Repeat("n", cluster.MaxName)}
	clients := make([]net.Conn, len(names))
	for i, name := range names {
		_, clients[i] = server.bound(nodes[0], name)
	}
	for i, name := range names {
		send(t, nodes[1], name, "only for "+nodes[1].ID())
		read(t, clients[i], "only for n2\n")
	}
	// Had anybody heard somebody else's message, it would be in the way of this one.
	for i, name := range names {
		send(t, nodes[1], name, "last")
		read(t, clients[i], "last\n")
	}
	for _, name := range []string{"", strings.Repeat("n", cluster.MaxName+1)} {
		if err := nodes[1].Send(patience(t), name, nil); !errors.Is(err, cluster.ErrInvalidName) {
			t.Errorf("Send to a name of %d bytes: %v", len(name), err)
		}
	}
}

func TestAPayloadOverTheBoundIsRefusedAndOneOfTheBoundArrives(t *testing.T) {
	nodes := mesh(t, 2)
	server := newSessions(t, lines, func(s *libnet.Server) { s.MaxMessage = 2 << 20 })
	_, client := server.bound(nodes[0], "u")
	large := strings.Repeat("x", nodes[1].MaxPayload())
	done := make(chan error, 1)
	go func() { done <- nodes[1].Send(patience(t), "u", []byte(large)) }()
	read(t, client, large+"\n")
	if err := <-done; err != nil {
		t.Error(err)
	}
	for what, err := range map[string]error{
		"Send":      nodes[1].Send(patience(t), "u", []byte(large+"x")),
		"Post":      nodes[1].Post("u", []byte(large+"x")),
		"Broadcast": nodes[1].Broadcast("g", []byte(large+"x")),
	} {
		if err != cluster.ErrTooLarge {
			t.Errorf("%s of %d bytes: %v", what, len(large)+1, err)
		}
	}
}

func TestAfterCloseEverythingAnswersErrClosed(t *testing.T) {
	nodes := mesh(t, 2)
	server := newSessions(t, lines, nil)
	session, client := server.bound(nodes[0], "u")
	for range 2 {
		if err := nodes[0].Close(); err != nil {
			t.Fatal(err)
		}
	}
	ctx := context.Background()
	_, onlineErr := nodes[0].Online(ctx, "u")
	_, kickErr := nodes[0].Kick(ctx, "u", "")
	for what, err := range map[string]error{
		"Bind":      nodes[0].Bind(ctx, session, "u"),
		"Join":      nodes[0].Join(session, "g"),
		"Leave":     nodes[0].Leave(session, "g"),
		"Sync":      nodes[0].Sync(ctx),
		"Send":      nodes[0].Send(ctx, "u", nil),
		"Post":      nodes[0].Post("u", nil),
		"Broadcast": nodes[0].Broadcast("g", nil),
		"Online":    onlineErr,
		"Kick":      kickErr,
		"Drain":     nodes[0].Drain(ctx),
	} {
		if err != cluster.ErrClosed || !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
	wantOffline(t, nodes[1], "u") // a node that has left is not waited for
	if err := session.Send("still open"); err != nil {
		t.Errorf("Close of the node closed a session: %v", err)
	}
	read(t, client, "still open\n")
}

func TestNewReturnsWhenItsContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if node, err := cluster.New(ctx, cluster.Options{Logger: quiet}); !errors.Is(err, context.Canceled) {
		t.Fatalf("New returned %v, %v", node, err)
	}
}
