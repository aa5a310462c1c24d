package cluster_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/libnet-go/libnet/cluster"
	"github.com/nats-io/nats.go"
)

// mute is a node that announces itself for a while, and answers nothing.
func mute(t *testing.T, conn *nats.Conn, longest time.Duration) {
	t.Helper()
	if _, err := conn.Subscribe(inLibnet+".p.MUTE", func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	over := make(chan struct{})
	t.Cleanup(func() { cancel(); <-over })
	go func() {
		defer close(over)
		for ctx.Err() == nil {
			_ = conn.Publish(heartbeats, []byte(`{"id":"mute","instance":"MUTE"}`))
			time.Sleep(50 * time.Millisecond)
		}
	}()
}

// postAs publishes a post of whichever node to the user's node, as its detour does.
func postAs(t *testing.T, to *cluster.Node, instance, user, text string, number uint64) {
	t.Helper()
	publishAs(t, to, instance, user, "n"+text, number)
}

// sendAs publishes a message that follows a post.
func sendAs(t *testing.T, to *cluster.Node, instance, user, text string, after uint64) {
	t.Helper()
	publishAs(t, to, instance, user, string(binary.BigEndian.AppendUint64([]byte("A"), after))+"m"+text, after+1)
}

func publishAs(t *testing.T, to *cluster.Node, instance, user, data string, number uint64) {
	t.Helper()
	reply := fmt.Sprintf("%s.r.%s.-.%d", inLibnet, instance, number)
	if err := to.Conn().PublishRequest(cluster.AtSubject(to, user), reply, []byte(data)); err != nil {
		t.Error(err)
	}
}

func instanceOf(node *cluster.Node) string {
	parts := strings.Split(cluster.AtSubject(node, "u"), ".")
	return parts[len(parts)-2]
}

// A post was refused, and until all nodes have said that they have not had it, it goes nowhere: one of them is silent.
func TestAMessageWaitsForThePostThatItFollowsHoweverLongThatTakes(t *testing.T) {
	nodes, client := unknownToInterest(t)
	mute(t, nodes[0].Conn(), 500*time.Millisecond)
	eventually(t, "the mute node", func() bool { return alive(nodes[0]) == 3 })
	somebody(t, nodes[0], "u", func(m *nats.Msg) { // whom the user has left
		_ = m.Respond([]byte("g"))
		sendAs(t, nodes[1], instanceOf(nodes[0]), "u", "second", 1)
	})
	if err := nodes[0].Post("u", []byte("first")); err != nil {
		t.Fatal(err)
	}
	read(t, client, "first\nsecond\n")
}

// Who took the post has not said so, and never will.
func TestAMessageDoesNotWaitForAPostThatWentElsewhere(t *testing.T) {
	nodes, client := unknownToInterest(t)
	taken := make(chan struct{})
	somebody(t, nodes[0], "u", func(*nats.Msg) { close(taken) })
	if err := nodes[0].Post("u", []byte("taken")); err != nil {
		t.Fatal(err)
	}
	<-taken
	begun := time.Now()
	sendAs(t, nodes[1], instanceOf(nodes[0]), "u", "next", 1)
	read(t, client, "next\n")
	if took := time.Since(begun); took > 2*time.Second { // a third more is the longest that it waits for one that never comes
		t.Errorf("the message waited for %v", took)
	}
}

func TestAPostThatOthersHavePassedIsDropped(t *testing.T) {
	node := startNode(t, cluster.Options{})
	_, client := newSessions(t, lines, nil).bound(node, "u")
	sendAs(t, node, "NOBODY", "u", "third", 2)
	read(t, client, "third\n") // who sent it is not heard, and so not waited for
	postAs(t, node, "NOBODY", "u", "first", 1)
	postAs(t, node, "NOBODY", "u", "second", 2)
	postAs(t, node, "NOBODY", "u", "fourth", 4)
	read(t, client, "fourth\n")
}

// The homes are asked while a login moves: the first answer may name the node that the user leaves.
func TestPostsThatAreRefusedOnTheirDetourGoOnAnotherOne(t *testing.T) {
	nodes, client := unknownToInterest(t)
	mute(t, nodes[0].Conn(), 200*time.Millisecond)
	eventually(t, "the mute node", func() bool { return alive(nodes[0]) == 3 })
	left := somebody(t, nodes[0], "u", func(m *nats.Msg) { _ = m.Respond([]byte("g")) })
	refused := refusing(t, nodes[1], "u", 2)
	for _, text := range []string{"first", "second"} {
		if err := nodes[0].Post("u", []byte(text)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond) // the first is refused, and the second waits behind it
	}
	if err := left.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	<-refused
	send(t, nodes[0], "u", "third")
	read(t, client, "first\nsecond\nthird\n")
}

// refusing has a node say of the first messages that the user has left it, and hear those after them. What it returns
// is closed then.
func refusing(t *testing.T, node *cluster.Node, user string, most int) <-chan struct{} {
	t.Helper()
	refused := make(chan struct{})
	var heard []*nats.Msg
	inPlaceOf(t, node, user, func(m *nats.Msg, hear func()) {
		if heard = append(heard, m); len(heard) != most {
			return
		}
		hear()
		for _, m := range heard {
			_ = m.Respond([]byte("g"))
		}
		close(refused)
	})
	return refused
}
