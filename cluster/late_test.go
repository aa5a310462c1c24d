package cluster_test

import (
	"fmt"
	"net"
	"testing"

	"github.com/libnet-go/libnet/cluster"
)

// Interest has not reached the sending node when some of these are sent; posts are not sent again by whoever posts.
func TestAllThatIsPostedAndSentAfterBindArrivesInOrder(t *testing.T) {
	nodes := mesh(t, 3)
	server := newSessions(t, lines, nil)
	for i := range 300 {
		user, from := fmt.Sprint("u", i), nodes[(i+1)%3]
		client := welcome(t, server, nodes[i%3], user)
		talk(t, from, user, client)
	}
}

// Only the node that the user has left may hear some of these.
func TestAllThatIsPostedAndSentAfterAUserHasMovedArrivesOnceAndInOrder(t *testing.T) {
	nodes := mesh(t, 3)
	server := newSessions(t, lines, nil)
	for i := range 100 {
		user := fmt.Sprint("u", i)
		for j := range 2 {
			client := welcome(t, server, nodes[(i+j)%3], user)
			talk(t, nodes[(i/3)%3], user, client)
		}
	}
}

// welcome logs a user in whose session has its codec, for which a message of a node waits for 10 ms at most.
func welcome(t *testing.T, server *sessions, node *cluster.Node, user string) net.Conn {
	t.Helper()
	session, client := server.open()
	if err := session.Send([]byte("welcome")); err != nil {
		t.Fatal(err)
	}
	bind(t, node, session, user)
	return client
}

// talk sends to a user who has just logged in, without a pause, and reads it.
func talk(t *testing.T, from *cluster.Node, user string, client net.Conn) {
	t.Helper()
	read(t, client, "welcome\n")
	for j := range 12 {
		text := fmt.Appendf(nil, "0 %d", j)
		var err error
		if j%4 == 3 {
			err = from.Send(patience(t), user, text)
		} else {
			err = from.Post(user, text)
		}
		if err != nil {
			t.Fatalf("message %d to %s: %v", j, user, err)
		}
	}
	readInOrder(t, client, 1, 12)
	if t.Failed() {
		t.Fatalf("from %s to %s", from.ID(), user)
	}
}
