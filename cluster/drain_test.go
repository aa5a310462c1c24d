package cluster_test

import (
	"context"
	"errors"
	"testing"

	"github.com/libnet-go/libnet/cluster"
)

func TestADrainedNodeHasNoUsersTakesNoneAndStillSends(t *testing.T) {
	nodes := mesh(t, 2)
	server := newSessions(t, lines, nil)
	session, client := server.bound(nodes[0], "u")
	if err := nodes[0].Join(session, "g"); err != nil {
		t.Fatal(err)
	}
	_, other := server.bound(nodes[1], "v")
	for range 2 {
		if err := nodes[0].Drain(patience(t)); err != nil {
			t.Fatalf("Drain: %v", err)
		}
	}
	if stats := nodes[0].Stats(); stats.Users != 0 || stats.Groups != 0 {
		t.Errorf("after Drain: %+v", stats)
	}
	if err := nodes[0].Bind(patience(t), session, "u"); err != cluster.ErrDraining {
		t.Errorf("Bind after Drain: %v", err)
	}
	if err := nodes[0].Join(session, "g"); err != cluster.ErrDraining {
		t.Errorf("Join after Drain: %v", err)
	}
	wantOffline(t, nodes[1], "u")
	eventually(t, "the other node to know", func() bool { return nodes[1].Nodes()[0].Draining })

	send(t, nodes[0], "v", "from a drained node")
	read(t, other, "from a drained node\n")
	// The same user elsewhere leaves the old session alone: its queue is being delivered.
	elsewhere, _ := server.bound(nodes[1], "u")
	if err := session.Send("goodbye"); err != nil {
		t.Errorf("the drained node's session: %v", err)
	}
	read(t, client, "goodbye\n")
	if elsewhere.IsClosed() {
		t.Error(elsewhere.Err())
	}
}

func TestARollingRestartOfThreeNodesLosesNoAcknowledgedMessage(t *testing.T) {
	if acknowledged, lost := rollingRestart(t, 60); lost > 0 {
		t.Errorf("%d of %d acknowledged messages were lost", lost, acknowledged)
	}
}

func TestADrainThatRunsOutOfTimeSaysSo(t *testing.T) {
	node := startNode(t, cluster.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := node.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("Drain: %v", err)
	}
	if err := node.Drain(patience(t)); err != nil {
		t.Fatalf("the second Drain: %v", err)
	}
}
