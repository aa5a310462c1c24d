package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"

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
	var oldClient net.Conn
	for i := range 50 {
		session, client := server.bound(nodes[0], "u")
		if old != nil {
			oldClient.Close()
			wantClosed(t, old, cluster.ErrReplaced) // its callbacks race with what follows
		}
		old, oldClient = session, client
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

func TestUsersWhoLogInOnTwoNodesAtOnceEndWithExactlyOneSession(t *testing.T) {
	const users = 1000
	nodes := mesh(t, 2)
	logins := logInOnTwoNodes(t, nodes, users)
	eventually(t, "exactly one session of each user", logins.single)
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

// twoLogins are the sessions of users, one on each of two nodes.
type twoLogins [][2]*libnet.Session

// logInOnTwoNodes begins all logins of all users at the same time, so which one is the later is for the claims
// to say, and both nodes must say the same. It returns when each Bind has.
func logInOnTwoNodes(tb testing.TB, nodes []*cluster.Node, users int) twoLogins {
	tb.Helper()
	server := libnet.NewServer(libnettest.NewListener(), lines, 64)
	server.Logger = quiet
	tb.Cleanup(server.Stop)
	logins := make(twoLogins, users)
	var binds sync.WaitGroup
	begin := make(chan struct{})
	ctx := patience(tb)
	for i := range logins {
		for j := range logins[i] {
			session, err := server.NewSession(newSink(nil))
			if err != nil {
				tb.Fatal(err)
			}
			if err := session.Send([]byte("welcome")); err != nil { // has its codec made, for which a node's message waits 10 ms at most
				tb.Fatal(err)
			}
			logins[i][j] = session
			binds.Go(func() {
				<-begin
				err := nodes[j].Bind(ctx, session, fmt.Sprint("u", i))
				if err != nil && !errors.Is(err, cluster.ErrReplaced) {
					tb.Errorf("Bind: %v", err)
				}
			})
		}
	}
	close(begin)
	binds.Wait()
	return logins
}

// single reports whether each user has exactly one session.
func (l twoLogins) single() bool {
	return !slices.ContainsFunc(l, func(pair [2]*libnet.Session) bool { return pair[0].IsClosed() == pair[1].IsClosed() })
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
