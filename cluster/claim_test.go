package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/cluster"
	"github.com/libnet-go/libnet/libnettest"
)

func TestALaterLoginReplacesTheEarlierOneOnTheSameNodeAndOnAnother(t *testing.T) {
	nodes := mesh(t, 2)
	server := newSessions(t, lines, nil)
	first, _ := server.bound(nodes[0], "u")
	second, client := server.bound(nodes[0], "u")
	wantClosed(t, first, cluster.ErrReplaced)
	send(t, nodes[1], "u", "to the second")
	read(t, client, "to the second\n")

	third, client := server.bound(nodes[1], "u")
	wantClosed(t, second, cluster.ErrReplaced)
	for _, node := range nodes {
		send(t, node, "u", "to the third")
		read(t, client, "to the third\n")
	}
	if third.IsClosed() {
		t.Fatalf("the latest login was closed: %v", third.Err())
	}
	if stats := nodes[0].Stats(); stats.Users != 0 || stats.Replaced != 2 {
		t.Errorf("the first node's counters: %+v", stats)
	}
}

func TestBindingASessionToItsUserAgainChangesNothing(t *testing.T) {
	nodes := mesh(t, 2)
	server := newSessions(t, lines, nil)
	session, client := server.bound(nodes[0], "u")
	for range 3 {
		bind(t, nodes[0], session, "u")
	}
	send(t, nodes[1], "u", "once")
	send(t, nodes[1], "u", "twice")
	read(t, client, "once\ntwice\n")
	session.Close()
	wantOffline(t, nodes[1], "u")
}

func TestTheEndOfAReplacedSessionDoesNotUnbindTheOneThatReplacedIt(t *testing.T) {
	nodes := mesh(t, 2)
	server := newSessions(t, lines, nil)
	var old *libnet.Session
	for i := range 50 {
		session, client := server.bound(nodes[0], "u")
		if old != nil {
			wantClosed(t, old, cluster.ErrReplaced) // its callbacks race with what follows
		}
		old = session
		send(t, nodes[i%2], "u", "there")
		read(t, client, "there\n")
	}
}

func TestASessionThatIsClosedIsNotBound(t *testing.T) {
	node := startNode(t, cluster.Options{})
	server := newSessions(t, lines, nil)
	session, _ := server.open()
	session.Close()
	if err := node.Bind(patience(t), session, "u"); !errors.Is(err, libnet.ErrSessionClosed) {
		t.Errorf("Bind of a closed session: %v", err)
	}
	if err := node.Join(session, "g"); !errors.Is(err, libnet.ErrSessionClosed) {
		t.Errorf("Join of a closed session: %v", err)
	}
	if stats := node.Stats(); stats.Users != 0 || stats.Groups != 0 {
		t.Errorf("after that: %+v", stats)
	}
}

// The logins of each user begin on both nodes at the same time, so which one is the later is for the claims
// to say, and both nodes must say the same.
func TestUsersWhoLogInOnTwoNodesAtOnceEndWithExactlyOneSession(t *testing.T) {
	nodes := mesh(t, 2)
	users := size(1000, 1000)
	server := libnet.NewServer(libnettest.NewListener(), lines, 64)
	server.Logger = quiet
	t.Cleanup(server.Stop)
	logins := make([][2]*libnet.Session, users)
	for i := range logins {
		for j := range logins[i] {
			var err error
			if logins[i][j], err = server.NewSession(newSink(nil)); err != nil {
				t.Fatal(err)
			}
		}
	}
	var wg sync.WaitGroup
	for i := range logins {
		for j := range logins[i] {
			wg.Go(func() {
				err := nodes[j].Bind(patience(t), logins[i][j], fmt.Sprint("u", i))
				if err != nil && !errors.Is(err, cluster.ErrReplaced) {
					t.Errorf("Bind: %v", err)
				}
			})
		}
	}
	wg.Wait()
	begin := time.Now()
	eventually(t, "exactly one session of each user", func() bool {
		for _, pair := range logins {
			if pair[0].IsClosed() == pair[1].IsClosed() {
				return false
			}
		}
		return true
	})
	t.Logf("%d users: one session each %v after the last Bind returned", users, time.Since(begin))
	for i, pair := range logins {
		for j, session := range pair {
			if session.IsClosed() && !errors.Is(session.Err(), cluster.ErrReplaced) {
				t.Fatalf("user %d: a session closed for %v", i, session.Err())
			}
			if !session.IsClosed() {
				send(t, nodes[1-j], fmt.Sprint("u", i), "x") // to the one that is left, from the other node
			}
		}
	}
	if sum := nodes[0].Stats().Users + nodes[1].Stats().Users; sum != users {
		t.Errorf("%d users are bound, want %d", sum, users)
	}
}

func TestABindThatFailsLeavesNothingBound(t *testing.T) {
	node := startNode(t, cluster.Options{})
	server := newSessions(t, lines, nil)
	session, _ := server.open()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := node.Bind(ctx, session, "u"); !errors.Is(err, context.Canceled) {
		t.Fatalf("Bind: %v", err)
	}
	if users := node.Stats().Users; users != 0 || session.IsClosed() {
		t.Fatalf("%d users are bound; session closed: %t", users, session.IsClosed())
	}
	wantOffline(t, node, "u")
}
