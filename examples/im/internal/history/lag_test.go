package history_test

import (
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/libnet-go/libnet/examples/im/internal/history"
)

// lag has every other direct get of a stream answered by a replica that has nothing but the stream's beginning: it
// joins the queue group in which JetStream's own replicas answer.
func lag(t *testing.T, conn *nats.Conn, stream string) (answers *atomic.Int64) {
	t.Helper()
	answers = new(atomic.Int64)
	_, err := conn.QueueSubscribe("$JS.API.DIRECT.GET."+stream, "_zz_", func(msg *nats.Msg) {
		answers.Add(1)
		var question struct {
			MultiLast []string `json:"multi_last"`
		}
		answer := nats.NewMsg(msg.Reply)
		if err := json.Unmarshal(msg.Data, &question); err != nil {
			t.Error(err)
		}
		answer.Header.Set("Status", "404")
		if question.MultiLast != nil {
			answer.Header.Set("Status", "204")
			answer.Header.Set("Nats-UpTo-Sequence", "1")
		}
		if err := msg.RespondMsg(answer); err != nil {
			t.Error(err)
		}
	})
	if err == nil {
		err = conn.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return answers
}

func TestAReplicaThatLagsBehindHidesNothing(t *testing.T) {
	t.Parallel()
	h, server, _ := open(t, history.Options{})
	store(t, h, history.Message{ID: 1, Source: 1, Target: 3, Text: "the beginning"})
	answers := lag(t, connect(t, server), "im")
	lagging := lag(t, connect(t, server), "KV_im-groups")
	for i := range int64(60) {
		version := store(t, h, history.Message{ID: i + 2, Source: 1, Target: 2, Text: fmt.Sprint(i)})
		page, err := h.Read(t.Context(), history.Query{User: 2, After: version - 1})
		if err != nil || len(page.Records) != 1 || page.Records[0].Msg != fmt.Sprint(i) || page.Next != version {
			t.Fatalf("message %d, version %d: %v, %v", i, version, page, err)
		}
		if _, err := h.Join(t.Context(), 2, i+1, int(i)); err != nil {
			t.Fatal(err)
		}
		if groups, err := h.Groups(t.Context(), 2); err != nil || len(groups) != int(i)+1 {
			t.Fatalf("%d groups joined, %v known, %v", i+1, groups, err)
		}
	}
	if answers.Load() == 0 || lagging.Load() == 0 {
		t.Errorf("the replica that lags has answered %d and %d times", answers.Load(), lagging.Load())
	}
}
