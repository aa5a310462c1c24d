package cluster_test

import (
	"testing"
	"time"

	"github.com/libnet-go/libnet/cluster"
	"github.com/nats-io/nats.go"
)

// late is later than a node waits for an answer before it asks the user's homes, and earlier than it takes others for
// silent.
const late = 200 * time.Millisecond

// The answers of a slow machine are late, and count.
func TestAnAnswerThatComesWhileTheHomesAreAskedCounts(t *testing.T) {
	near, far, between := external(t, cluster.Options{})
	_, client := newSessions(t, lines, nil).bound(near, "u")
	if err := cluster.LoseInterest(near, "u"); err != nil {
		t.Fatal(err)
	}
	between.blackhole()
	time.AfterFunc(late, between.heal)
	send(t, far, "u", "x") // NATS says that nobody hears it, and only then what the homes know
	read(t, client, "x\n")
}

func TestAnAnswerThatComesWhileTheUsersNodeIsAskedCounts(t *testing.T) {
	node := startNode(t, cluster.Options{})
	_, client := newSessions(t, lines, nil).bound(node, "u")
	if err := cluster.LoseInterest(node, "u"); err != nil {
		t.Fatal(err)
	}
	protocol := stallProtocol{lines, make(chan struct{}, 1), make(chan struct{})}
	stalling, err := newSessions(t, protocol, nil).NewSession(newSink(nil))
	if err != nil {
		t.Fatal(err)
	}
	bind(t, node, stalling, "v")
	if err := node.Post("v", []byte("x")); err != nil { // the node is at it, and answers nothing else
		t.Fatal(err)
	}
	<-protocol.stalled
	somebody(t, node, "u", func(m *nats.Msg) { // whom the user has left
		time.Sleep(late)
		_ = m.Respond([]byte("g"))
		time.AfterFunc(late, func() { close(protocol.release) })
	})
	send(t, node, "u", "x")
	read(t, client, "x\n")
}
