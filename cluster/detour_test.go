package cluster_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/libnet-go/libnet/cluster"
)

// besideAMuteNode has a node hear another one, which answers nothing, until end is called.
func besideAMuteNode(t *testing.T, node *cluster.Node) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	announced := make(chan struct{})
	go func() {
		defer close(announced)
		for ctx.Err() == nil {
			_ = node.Conn().Publish(heartbeats, []byte(`{"id":"mute","instance":"MUTE"}`))
			time.Sleep(100 * time.Millisecond)
		}
	}()
	eventually(t, "the mute node", func() bool { return alive(node) == 2 })
	return func() { cancel(); <-announced }
}

// A node that announces itself and answers nothing has all questions to homes wait; a post that was refused asks them,
// and a Send to the same user waits for that. Options.Timeout bounds both waits together.
func TestASendBehindAPostThatWasRefusedEndsWithItsTimeout(t *testing.T) {
	const timeout = 3 * time.Second
	node := startNode(t, cluster.Options{Timeout: timeout})
	defer besideAMuteNode(t, node)()
	if err := node.Post("u", []byte("x")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // the refusal
	begun := time.Now()
	err := node.Send(context.Background(), "u", []byte("y"))
	if took := time.Since(begun); err == nil || took > timeout*3/2 {
		t.Errorf("Send returned %v after %v", err, took)
	}
}

// Interest knows nothing of the user, so posts go to the user's node on a detour; a kick is sent there at once.
func TestAKickWaitsForPostsThatAreOnADetour(t *testing.T) {
	const posts = 30
	for range 5 {
		nodes, client := unknownToInterest(t)
		for i := range posts {
			if err := nodes[0].Post("u", fmt.Append(nil, i)); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := nodes[0].Kick(patience(t), "u", "enough"); n != 1 || err != nil {
			t.Fatalf("Kick: %d, %v", n, err)
		}
		for i := range posts {
			read(t, client, fmt.Sprintln(i))
		}
	}
}
