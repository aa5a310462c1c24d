package wstest

import (
	"context"
	"os"
	"os/exec"
	"testing"
)

func TestNodesWebSocketIsUnderstood(t *testing.T) {
	node := program(t, "node", "nodejs")
	if _, err := os.Stat("node_modules/ws"); err != nil {
		missing(t, "node_modules: run npm ci")
	}
	eachMode(t, func(t *testing.T, m mode) {
		text, binary, servers := webSockets(t, m)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if output, err := exec.CommandContext(ctx, node, "testdata/node.js", text, binary).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
		wantEnds(t, servers, m)
	})
}
