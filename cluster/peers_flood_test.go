package cluster_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/libnet-go/libnet/cluster"
)

// heartbeats is where nodes of the default cluster announce themselves.
var heartbeats = inLibnet + ".h"

type brief struct {
	ID       string `json:"id"`
	Instance string `json:"instance"`
	AgeMS    int64  `json:"age_ms"`
}

// A node that claims to know very many others costs neither memory nor time as they would.
func TestANodeThatClaimsToKnowVeryManyOthersStopsNobody(t *testing.T) {
	node := startNode(t, cluster.Options{})
	server := newSessions(t, lines, nil)
	for i := range 3 {
		var briefs []brief
		for j := range 15_000 {
			briefs = append(briefs, brief{fmt.Sprint(i, "-", j), fmt.Sprintf("X%dY%d", i, j), 2000})
		}
		data, err := json.Marshal(map[string]any{"id": "liar", "instance": fmt.Sprint("LIAR", i), "peers": briefs})
		if err != nil {
			t.Fatal(err)
		}
		if err := node.Conn().Publish(heartbeats, data); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the liar", func() bool { return len(node.Nodes()) > 1 })
	time.Sleep(600 * time.Millisecond) // a heartbeat
	if known := len(node.Nodes()); known > 5000 {
		t.Errorf("%d nodes are known", known)
	}
	server.bound(node, "ann")
}
