package cluster_test

import (
	"errors"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/libnet-go/libnet/cluster"
	"github.com/nats-io/nats.go"
)

// unknownToInterest has a user at the second of two nodes, of whom interest knows nothing.
func unknownToInterest(t *testing.T) (nodes []*cluster.Node, client net.Conn) {
	t.Helper()
	nodes = mesh(t, 2)
	_, client = newSessions(t, lines, nil).bound(nodes[1], "u")
	if err := cluster.LoseInterest(nodes[1], "u"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "interest to be gone", func() bool { return cluster.Deaf(nodes[0], "u") })
	return nodes, client
}

// inPlaceOf has f called with what comes for a user, in the place of the user's node, until f has that hear again.
func inPlaceOf(t *testing.T, node *cluster.Node, user string, f func(m *nats.Msg, hear func())) {
	t.Helper()
	again, err := cluster.Deafen(node)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := nats.Connect(node.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	hear := func() {
		if err := again(); err != nil {
			t.Error(err)
		}
	}
	_, err = conn.Subscribe(cluster.AtSubject(node, user), func(m *nats.Msg) { f(m, hear) })
	if err == nil {
		err = conn.FlushWithContext(patience(t))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// losing has a node lose the first message of a kind to the user, and all before it, and hear those after it.
func losing(t *testing.T, node *cluster.Node, user string, kind byte) {
	t.Helper()
	lost := false
	inPlaceOf(t, node, user, func(m *nats.Msg, hear func()) {
		if !lost && len(m.Data) > 0 && m.Data[0] == kind {
			lost = true
			hear()
		}
	})
}

// A route that breaks and is back before anybody notices takes what was on it along.
func TestAKickThatIsLostOnTheWayIsAskedAgain(t *testing.T) {
	nodes := mesh(t, 2)
	session, _ := newSessions(t, lines, nil).bound(nodes[1], "u")
	losing(t, nodes[1], "u", 'k')
	begun := time.Now()
	if n, err := nodes[0].Kick(patience(t), "u", "enough"); n != 1 || err != nil {
		t.Errorf("Kick: %d, %v", n, err)
	}
	if took := time.Since(begun); took > soon/2 {
		t.Errorf("Kick took %v", took)
	}
	wantClosed(t, session, cluster.ErrKicked)
}

// Interest finds nobody here, so the homes are asked: the message goes to the node itself, and is lost there.
func TestAMessageThatIsLostOnTheWayToItsNodeIsUnknownAtOnceAndNotSentAgain(t *testing.T) {
	nodes, client := unknownToInterest(t)
	losing(t, nodes[1], "u", 'm')
	begun := time.Now()
	if err := nodes[0].Send(patience(t), "u", []byte("lost")); !errors.Is(err, cluster.ErrDegraded) {
		t.Errorf("Send: %v", err)
	}
	if took := time.Since(begun); took > soon/2 {
		t.Errorf("Send took %v", took)
	}
	send(t, nodes[0], "u", "next")
	read(t, client, "next\n")
}

func TestAKickWhoseAnswerWasLostCountsTheSessionWhenItIsAskedAgain(t *testing.T) {
	node := startNode(t, cluster.Options{})
	session, _ := newSessions(t, lines, nil).bound(node, "u")
	conn, err := nats.Connect(node.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	kick := func(reply string) string {
		t.Helper()
		answers, err := conn.SubscribeSync(reply)
		if err != nil {
			t.Fatal(err)
		}
		defer answers.Unsubscribe()
		data, err := cluster.AppendKick([]byte("\x00\x00\x00\x00\x00\x00\x00\x00enough"))
		if err == nil {
			err = conn.PublishRequest(cluster.AtSubject(node, "u"), reply, append([]byte{'k'}, data...))
		}
		if err != nil {
			t.Fatal(err)
		}
		m, err := answers.NextMsgWithContext(patience(t))
		if err != nil {
			t.Fatal(err)
		}
		return string(m.Data)
	}
	for i, try := range []struct{ reply, want string }{{"one", "k"}, {"one", "k"}, {"another", "g"}, {"one", "k"}} {
		if got := kick(try.reply); got != try.want {
			t.Errorf("try %d, with answers to %q: %q, want %q", i, try.reply, got, try.want)
		}
	}
	wantClosed(t, session, cluster.ErrKicked)
}

// Three bytes on the wire are a member of 200 here.
func TestAListOfMembersCostsNoMoreThanAFewTimesItsSize(t *testing.T) {
	element := `{"run":"A"}`
	for _, hostile := range []string{
		"[" + strings.Repeat("{},", 350_000) + "{}]",
		"[" + strings.Repeat(element+",", 90_000) + element + "]",
	} {
		for what, parse := range map[string]func() error{
			"members": func() error { _, err := cluster.ParseMembers([]byte(hostile)); return err },
			"announcement": func() error {
				_, err := cluster.ParseAnnouncement([]byte(`{"id":"a","instance":"A","peers":` + hostile + "}"))
				return err
			},
		} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := parse()
			runtime.ReadMemStats(&after)
			if grown := after.TotalAlloc - before.TotalAlloc; err == nil || grown > 12*uint64(len(hostile)) {
				t.Errorf("%s of %d bytes, %.12s…: %v, and %d bytes for it", what, len(hostile), hostile, err, grown)
			}
		}
	}
}
