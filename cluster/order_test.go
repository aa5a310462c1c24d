package cluster_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/cluster"
	"github.com/libnet-go/libnet/libnettest"
)

var (
	names = []string{"u", "second name", "third name"}
	rooms = []string{"g", "h", "i", "j"}
)

// reached is a session that has several users and is in several groups, all seen from all nodes.
func reached(t *testing.T, node *cluster.Node) (*libnet.Session, net.Conn) {
	t.Helper()
	return reachedAs(t, node, "")
}

// reachedAs is reached with names and groups of its own, which begin with prefix.
func reachedAs(t *testing.T, node *cluster.Node, prefix string) (*libnet.Session, net.Conn) {
	t.Helper()
	server := newSessions(t, lines, func(s *libnet.Server) { s.SendQueue = 1 << 16 })
	session, client := server.open()
	for _, name := range names {
		bind(t, node, session, prefix+name)
	}
	for _, room := range rooms {
		if err := node.Join(session, prefix+room); err != nil {
			t.Fatal(err)
		}
	}
	if err := node.Sync(patience(t)); err != nil {
		t.Fatal(err)
	}
	return session, client
}

// burst sends numbered messages on all roads to the session that is reached, without waiting for any.
func burst(t *testing.T, node *cluster.Node, messages int) {
	t.Helper()
	burstAs(t, node, "", messages)
}

func burstAs(t *testing.T, node *cluster.Node, prefix string, messages int) {
	t.Helper()
	for i := range messages {
		payload := fmt.Appendf(nil, "0 %d", i)
		var err error
		if road := rand.IntN(len(names) + len(rooms)); road < len(names) {
			err = node.Post(prefix+names[road], payload)
		} else {
			err = node.Broadcast(prefix+rooms[road-len(names)], payload)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatOneGoroutineSendsToASessionArrivesInOrderOnWhateverRoad(t *testing.T) {
	nodes := mesh(t, 2)
	_, client := reached(t, nodes[1])
	const messages = 4000
	burst(t, nodes[0], messages)
	readInOrder(t, client, 1, messages)
}

func TestASendIsQueuedBehindWhatWasPostedAndBroadcastBefore(t *testing.T) {
	nodes := mesh(t, 2)
	session, _ := reached(t, nodes[1])
	const rounds, messages = 50, 40
	for i := range rounds {
		burst(t, nodes[0], messages)
		send(t, nodes[0], names[i%len(names)], "the last")
		stats := session.Stats()
		if queued := stats.MessagesOut + uint64(stats.Queued); queued != uint64((i+1)*(messages+1)) {
			t.Fatalf("round %d: Send was acknowledged with %d messages queued", i, queued)
		}
	}
}

func TestAKickEndsASessionBehindAllThatTheKickerSentBefore(t *testing.T) {
	nodes := mesh(t, 2)
	const rounds, messages = 20, 200
	for i := range rounds {
		session, client := reached(t, nodes[1])
		burst(t, nodes[0], messages)
		if n, err := nodes[0].Kick(patience(t), names[i%len(names)], "enough"); n != 1 || err != nil {
			t.Fatalf("round %d: Kick: %d, %v", i, n, err)
		}
		readInOrder(t, client, 1, messages)
		client.Close()
		wantClosed(t, session, cluster.ErrKicked)
	}
}

// The peer is real here: it goes on sending, and reads until the end.
func TestAKickAfterAcknowledgedSendsLosesNone(t *testing.T) {
	nodes := mesh(t, 2)
	server, err := libnet.Serve("tcp", "127.0.0.1:0", lines, 1024)
	if err != nil {
		t.Fatal(err)
	}
	server.Logger = quiet
	t.Cleanup(server.Stop)
	bound := make(chan error, 1)
	go server.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
		bound <- nodes[1].Bind(context.Background(), s, "u")
		for range s.Messages() {
		}
	}))
	const messages = 100
	for round := range 20 {
		client, err := net.Dial("tcp", server.Listener().Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := <-bound; err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				if _, err := client.Write([]byte("hello\n")); err != nil {
					return
				}
			}
		}()
		for i := range messages {
			send(t, nodes[0], "u", fmt.Sprint("0 ", i))
		}
		if n, err := nodes[0].Kick(patience(t), "u", "enough"); n != 1 || err != nil {
			t.Fatalf("round %d: Kick: %d, %v", round, n, err)
		}
		readInOrder(t, client, 1, messages)
		client.Close()
	}
}

func TestAPeerThatIsSlowToReadGetsWhatWasAcknowledgedBeforeAKick(t *testing.T) {
	nodes := mesh(t, 2)
	server := newSessions(t, lines, func(s *libnet.Server) { s.SendQueue = 1024 })
	client, conn := libnettest.PipeSize(1)
	session, err := server.NewSession(conn)
	if err != nil {
		t.Fatal(err)
	}
	bind(t, nodes[1], session, "u")
	const messages = 100
	for i := range messages {
		send(t, nodes[0], "u", fmt.Sprint("0 ", i))
	}
	if n, err := nodes[0].Kick(patience(t), "u", "enough"); n != 1 || err != nil {
		t.Fatalf("Kick: %d, %v", n, err)
	}
	time.Sleep(700 * time.Millisecond)
	readInOrder(t, client, 1, messages)
	client.Close()
	wantClosed(t, session, cluster.ErrKicked)
}
