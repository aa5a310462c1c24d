package cluster_test

import (
	"context"
	"testing"
	"time"

	"github.com/libnet-go/libnet/cluster"
)

// Interest in a user who has left lingers, and is the user's again who comes back. What was sent before the login may
// still be on its way by it, of a sender who has had another answer: a server warns a session that it is about to
// replace, and the warning must not end the one that replaces it.
func TestWhoComesBackIsNotGivenWhatWasSentBeforeTheLogin(t *testing.T) {
	const many = 1000 // more than a dispatcher handles while a session is bound
	node := startNode(t, cluster.Options{})
	sessions := newSessions(t, lines, nil)
	for range 10 {
		gone, _ := sessions.bound(node, "u")
		gone.Close()
		eventually(t, "the user to be gone", func() bool { return node.Stats().Users == 0 })
		session, client := sessions.open()
		for range many {
			if err := node.Conn().Publish(cluster.UserSubject(node, "u"), []byte("mbefore")); err != nil {
				t.Fatal(err)
			}
		}
		bind(t, node, session, "u")
		send(t, node, "u", "after")
		read(t, client, "after\n")
		session.Close()
		eventually(t, "the user to be gone", func() bool { return node.Stats().Users == 0 })
	}
}

// Of several logins at a time one wins, and it may be the one that has begun first. If a later one has told it that it
// is replaced, its client goes away, and both are gone.
func TestALoginThatIsUnderWayIsNotSentToBeforeItIsDecided(t *testing.T) {
	node := startNode(t, cluster.Options{})
	heard := besideAMuteNode(t, node) // a home that the login waits for
	session, client := newSessions(t, lines, nil).open()
	bound := make(chan error, 1)
	go func() { bound <- node.Bind(patience(t), session, "u") }()
	eventually(t, "the login to be under way", func() bool { return node.Stats().Users == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := node.Send(ctx, "u", []byte("early")); err == nil {
		t.Error("Send reached a session whose Bind has not returned")
	}
	heard() // it is silent from here on, and no home any more
	if err := <-bound; err != nil {
		t.Fatal(err)
	}
	send(t, node, "u", "in time")
	read(t, client, "in time\n")
}
