package history_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/libnet-go/libnet/examples/im/internal/history"
	"github.com/libnet-go/libnet/examples/im/internal/imtest"
)

// fleets runs a test on one server, and on three with three replicas.
func fleets(t *testing.T, o history.Options, test func(t *testing.T, h *history.History)) {
	t.Run("one server", func(t *testing.T) {
		h, _, _ := open(t, o)
		test(t, h)
	})
	t.Run("three servers", func(t *testing.T) { test(t, openFleet(t, o)[0]) })
}

func TestAFullBoxRefusesWhatIsNewAndKeepsWhatItHas(t *testing.T) {
	t.Parallel()
	fleets(t, history.Options{MaxPerSubject: 3}, func(t *testing.T, h *history.History) {
		var want []string
		m := history.Message{Source: 1, Target: 2}
		for i := range 3 {
			m.ID, m.ClientID, m.Text = int64(i+1), fmt.Sprint(i), fmt.Sprint(i)
			want = append(want, m.Text)
			store(t, h, m)
		}
		last := m
		for _, source := range []int64{1, 5} {
			_, err := h.Store(t.Context(), history.Message{ID: 9, Source: source, Target: 2, ClientID: "more", Text: "more"})
			if !errors.Is(err, history.ErrFull) {
				t.Errorf("one message more of user %d: %v", source, err)
			}
		}
		// What is stored already may be repeated: its sender does not know.
		store(t, h, last)
		store(t, h, history.Message{ID: 10, Source: 5, Target: 3, Text: "to another"})
		if got, _, _ := readAll(t, h, history.Query{User: 2}); !slices.Equal(got, want) {
			t.Errorf("read %v", got)
		}

		for i := range 3 {
			store(t, h, history.Message{ID: int64(i + 20), Source: 6, Group: 9, Text: fmt.Sprint(i)})
		}
		if _, err := h.Store(t.Context(), history.Message{ID: 30, Source: 6, Group: 9, Text: "more"}); !errors.Is(err, history.ErrFull) {
			t.Errorf("one message more in a group: %v", err)
		}
	})
}

func TestAFullStoreRefusesWhatIsNewAndKeepsWhatItHas(t *testing.T) {
	t.Parallel()
	fleets(t, history.Options{MaxBytes: 256 << 10}, func(t *testing.T, h *history.History) {
		var want []string
		for i := 0; ; i++ {
			text := fmt.Sprint(i, strings.Repeat("x", 20_000))
			_, err := h.Store(t.Context(), history.Message{ID: int64(i + 1), Source: 1, Target: 2, Text: text})
			if errors.Is(err, history.ErrStoreFull) {
				break
			}
			if err != nil || i > 100 {
				t.Fatalf("message %d: %v", i, err)
			}
			want = append(want, text)
		}
		if got, _, _ := readAll(t, h, history.Query{User: 2}); len(want) < 3 || !slices.Equal(got, want) {
			t.Errorf("%d of %d messages are left", len(got), len(want))
		}
	})
}

func TestWhatIsOldGoesFromAFullBox(t *testing.T) {
	t.Parallel()
	h, _, _ := open(t, history.Options{MaxPerSubject: 1, MaxAge: time.Second})
	store(t, h, history.Message{ID: 1, Source: 1, Target: 2, Text: "old"})
	m := history.Message{ID: 2, Source: 1, Target: 2, Text: "new"}
	imtest.Eventually(t, "there is room", func() bool {
		_, err := h.Store(t.Context(), m)
		if err != nil && !errors.Is(err, history.ErrFull) {
			t.Fatal(err)
		}
		return err == nil
	})
	if got, _, _ := readAll(t, h, history.Query{User: 2}); !slices.Equal(got, []string{"new"}) {
		t.Errorf("read %v", got)
	}
}

func TestTheOldestOfWhatOneSaidMakesRoomForTheNewest(t *testing.T) {
	t.Parallel()
	h, _, _ := open(t, history.Options{MaxPerSubject: 10})
	for i := range 25 {
		store(t, h, history.Message{ID: int64(i + 1), Source: 1, Target: int64(100 + i), Text: fmt.Sprint(i)})
	}
	got, _, _ := readAll(t, h, history.Query{User: 1, Own: true})
	if len(got) < 9 || got[len(got)-1] != "24" {
		t.Errorf("the sender reads %v", got)
	}
	for i := range 25 {
		if got, _, _ := readAll(t, h, history.Query{User: int64(100 + i)}); !slices.Equal(got, []string{fmt.Sprint(i)}) {
			t.Errorf("receiver %d reads %v", i, got)
		}
	}
}

// An operator's stream is the operator's: a start, or a reconnection, changes only what it was told to enlarge.
func TestAStreamThatIsThereIsNeverReduced(t *testing.T) {
	servers := imtest.StartNATSCluster(t, t.TempDir(), 3)
	conn := connect(t, servers[0])
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	theirs := jetstream.StreamConfig{
		Name: "im", Subjects: []string{"im.u.*", "im.s.*", "im.g.*"}, Replicas: 3, MaxAge: time.Hour, Duplicates: time.Minute,
		MaxBytes: 10 << 20, MaxMsgsPerSubject: 50, Discard: jetstream.DiscardOld, Description: "an operator's",
	}
	if _, err := js.CreateStream(t.Context(), theirs); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		asked history.Options
		want  func(c *jetstream.StreamConfig)
	}{
		"nothing asked": {},
		"less asked": {asked: history.Options{
			Replicas: 1, MaxAge: time.Minute, Duplicates: time.Second, MaxBytes: 1 << 20, MaxPerSubject: 5,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			test.asked.Logger = imtest.Quiet
			h, err := history.Open(imtest.Bounded(t), conn, test.asked)
			if err != nil {
				t.Fatal(err)
			}
			if age := h.MaxAge(); age != time.Hour {
				t.Errorf("it says that messages are kept for %v", age)
			}
			if senders := streamConfig(t, js, "KV_im-senders"); senders.MaxAge < time.Hour {
				t.Errorf("what a sender has taken is known for %v", senders.MaxAge)
			}
			c := streamConfig(t, js, "im")
			if c.Replicas != 3 || c.MaxAge != time.Hour || c.Duplicates != time.Minute || c.MaxBytes != 10<<20 ||
				c.MaxMsgsPerSubject != 50 || c.Description != "an operator's" {
				t.Errorf("now it is %+v", c)
			}
			if c.Discard != jetstream.DiscardNew || !c.DiscardNewPerSubject || !c.AllowDirect {
				t.Errorf("it drops messages, or cannot be read: %+v", c)
			}
		})
	}
	t.Run("more asked", func(t *testing.T) {
		asked := history.Options{MaxAge: 2 * time.Hour, Duplicates: 2 * time.Minute, MaxBytes: -1, MaxPerSubject: 60, Logger: imtest.Quiet}
		if _, err := history.Open(imtest.Bounded(t), conn, asked); err != nil {
			t.Fatal(err)
		}
		c := streamConfig(t, js, "im")
		if senders := streamConfig(t, js, "KV_im-senders"); senders.MaxAge != 2*time.Hour {
			t.Errorf("what a sender has taken is known for %v", senders.MaxAge)
		}
		if c.Replicas != 3 || c.MaxAge != 2*time.Hour || c.Duplicates != 2*time.Minute || c.MaxBytes > 0 || c.MaxMsgsPerSubject != 60 {
			t.Errorf("now it is %+v", c)
		}
	})
	t.Run("more replicas asked", func(t *testing.T) {
		for _, replicas := range []int{0, 3} {
			if _, err := history.Open(imtest.Bounded(t), conn, history.Options{Name: "other", Replicas: replicas, Logger: imtest.Quiet}); err != nil {
				t.Fatal(err)
			}
			for _, stream := range []string{"other", "KV_other-groups", "KV_other-senders"} {
				if c := streamConfig(t, js, stream); c.Replicas != max(replicas, 1) {
					t.Errorf("%s has %d replicas, with %d asked for", stream, c.Replicas, replicas)
				}
			}
		}
	})
}

func streamConfig(t *testing.T, js jetstream.JetStream, name string) jetstream.StreamConfig {
	t.Helper()
	stream, err := js.Stream(imtest.Bounded(t), name)
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().Config
}
