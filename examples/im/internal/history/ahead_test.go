package history

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/libnet-go/libnet/examples/im/internal/imtest"
)

// A replica may have a message before the leader says so: it applies what a majority has on its own. Whoever was given
// such a message, and asked the leader for what comes behind it, was sent back and given it twice.
func TestAReplicaThatIsAheadOfTheLeaderHasNothingReadTwice(t *testing.T) {
	t.Parallel()
	conn, err := nats.Connect(imtest.StartNATS(t, t.TempDir()).URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	h, err := Open(imtest.Bounded(t), conn, Options{Logger: imtest.Quiet})
	if err != nil {
		t.Fatal(err)
	}
	const messages = 5
	var versions []int64
	for i := range messages {
		target := Message{ID: int64(i + 1), Source: 1, Target: 2, Text: fmt.Sprint(i)}
		if i%2 == 1 {
			target.Target, target.Group = 0, 3
		}
		version, err := h.Store(t.Context(), target)
		if err != nil {
			t.Fatal(err)
		}
		versions = append(versions, version)
	}
	var leader int64 // the last that it says it has
	h.frontier.ask = func(context.Context) (position, error) { return position{last: leader, quorum: true}, nil }
	var read []string
	q := Query{User: 2, Groups: map[int64]int64{3: 0}}
	for _, leader = range versions {
		for range 3 {
			page, err := h.Read(t.Context(), q)
			if err != nil || page.Next < q.After || page.Next > leader || page.More {
				t.Fatalf("after %d, with a leader that is at %d: up to %d, more %t, %v", q.After, leader, page.Next, page.More, err)
			}
			for _, r := range page.Records {
				read = append(read, r.Msg)
			}
			q.After = page.Next
		}
	}
	if want := []string{"0", "1", "2", "3", "4"}; !slices.Equal(read, want) {
		t.Errorf("read %q, want %q", read, want)
	}
}
