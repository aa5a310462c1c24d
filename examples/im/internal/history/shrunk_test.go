package history_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/history"
	"github.com/libnet-go/libnet/examples/im/internal/imtest"
)

// Whoever claims to have read what was never stored harms nobody: what is kept in memory for others stays.
func TestWhoAsksForWhatComesAfterTheEndMakesOthersReadNothingAgain(t *testing.T) {
	t.Parallel()
	h, _, conn := open(t, history.Options{})
	group := history.Query{User: 2, Groups: map[int64]int64{9: 0}}
	store(t, h, history.Message{ID: 1, Source: 1, Group: 9, Text: "hello"})
	asked, err := conn.SubscribeSync("$JS.API.DIRECT.GET.im")
	if err != nil {
		t.Fatal(err)
	}
	reads := func() (n int) {
		t.Helper()
		if texts, _, _ := readAll(t, h, group); !slices.Equal(texts, []string{"hello"}) {
			t.Fatalf("read %v", texts)
		}
		for {
			msg, err := asked.NextMsg(50 * time.Millisecond)
			if err != nil {
				return n
			}
			if strings.Contains(string(msg.Data), "next_by_subj") {
				n++
			}
		}
	}
	if n := reads(); n != 1 {
		t.Fatalf("the group is read from the store %d times at first", n)
	}
	if _, err := h.Read(t.Context(), history.Query{User: 3, After: math.MaxInt64}); err != nil {
		t.Fatal(err)
	}
	if n := reads(); n != 0 {
		t.Errorf("the group is read from the store %d times again", n)
	}
}

func TestAStreamThatStartsAgainIsReadAnew(t *testing.T) {
	t.Parallel()
	h, _, conn := open(t, history.Options{})
	group := history.Query{User: 2, Groups: map[int64]int64{9: 0}}
	store(t, h, history.Message{ID: 1, Source: 1, Group: 9, Text: "old"})
	store(t, h, history.Message{ID: 2, Source: 1, Group: 9, Text: "old, too"})
	if texts, _, _ := readAll(t, h, group); len(texts) != 2 {
		t.Fatalf("read %v", texts)
	}
	if err := newJetStream(t, conn).DeleteStream(t.Context(), "im"); err != nil {
		t.Fatal(err)
	}
	if _, err := history.Open(imtest.Bounded(t), conn, history.Options{Logger: imtest.Quiet}); err != nil {
		t.Fatal(err)
	}
	store(t, h, history.Message{ID: 3, Source: 1, Group: 9, Text: "new"})
	if texts, _, _ := readAll(t, h, group); !slices.Equal(texts, []string{"new"}) {
		t.Errorf("read %v", texts)
	}
}
