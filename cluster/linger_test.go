package cluster_test

import (
	"testing"

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
