package history_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/libnet-go/libnet/examples/im/internal/history"
	"github.com/libnet-go/libnet/examples/im/internal/imtest"
)

// A fleet is three NATS servers with three replicas of everything, and a history at each.
func openFleet(t testing.TB, o history.Options) []*history.History {
	t.Helper()
	o.Replicas = 3
	var fleet []*history.History
	for _, server := range imtest.StartNATSCluster(t, t.TempDir(), 3) {
		h, _ := openOn(t, server, o)
		fleet = append(fleet, h)
	}
	return fleet
}

// each benchmark runs on one server, and on three.
func onOneAndThree(b *testing.B, run func(b *testing.B, fleet []*history.History)) {
	b.Run("servers=1", func(b *testing.B) {
		h, _, _ := open(b, history.Options{})
		run(b, []*history.History{h})
	})
	b.Run("servers=3", func(b *testing.B) { run(b, openFleet(b, history.Options{})) })
}

// parallel has so many users do b.N things together, and reports how many a second and the 99th percentile.
func parallel(b *testing.B, users int, do func(user int64) error) {
	b.Helper()
	var left, failed atomic.Int64
	left.Store(int64(b.N))
	took := make([][]time.Duration, users)
	var running sync.WaitGroup
	b.ResetTimer()
	began := time.Now()
	for i := range users {
		running.Go(func() {
			for left.Add(-1) >= 0 {
				began := time.Now()
				if err := do(int64(i + 1)); err != nil {
					failed.Add(1)
					b.Log(err)
				}
				took[i] = append(took[i], time.Since(began))
			}
		})
	}
	running.Wait()
	b.StopTimer()
	all := slices.Concat(took...)
	slices.Sort(all)
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "per-s")
	b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(failed.Load()), "failed")
}

// BenchmarkStore is a direct message of each of 64 users at a time: two messages in JetStream.
func BenchmarkStore(b *testing.B) {
	onOneAndThree(b, func(b *testing.B, fleet []*history.History) {
		var id atomic.Int64
		parallel(b, 64, func(user int64) error {
			n := id.Add(1)
			_, err := fleet[user%int64(len(fleet))].Store(b.Context(), history.Message{
				ID: n, Source: user, Target: user%64 + 1, ClientID: strconv.FormatInt(n, 10), Text: "hello",
			})
			return err
		})
	})
}

// BenchmarkIdleSync is a sync that finds nothing newer, by 256 users at a time, who are in three groups each.
func BenchmarkIdleSync(b *testing.B) {
	onOneAndThree(b, func(b *testing.B, fleet []*history.History) {
		const users = 256
		last := fill(b, fleet[0], users)
		groups := map[int64]int64{1: 0, 2: 0, 3: 0}
		parallel(b, users, func(user int64) error {
			h := fleet[user%int64(len(fleet))]
			page, err := h.Read(b.Context(), history.Query{User: user, Groups: groups, After: last - users})
			if err == nil && len(page.Records) > 1 {
				err = fmt.Errorf("%d records", len(page.Records))
			}
			return err
		})
	})
}

// fill stores a message to each user, and something behind them that is nobody's.
func fill(b *testing.B, h *history.History, users int64) (last int64) {
	b.Helper()
	for user := range users {
		last = store(b, h, history.Message{ID: user + 1, Source: users + 1, Target: user + 1, Text: "hello"})
	}
	for range users {
		last = store(b, h, history.Message{ID: last, Source: users + 1, Target: users + 1, Text: "hello"})
	}
	return last
}

// BenchmarkSync is a sync that finds a message of a group and one to the user, by 256 users at a time.
func BenchmarkSync(b *testing.B) {
	onOneAndThree(b, func(b *testing.B, fleet []*history.History) {
		const users = 256
		before := store(b, fleet[0], history.Message{ID: 1, Source: 1, Group: 1, Text: "before"})
		fill(b, fleet[0], users)
		store(b, fleet[0], history.Message{ID: 2, Source: users + 1, Group: 1, Text: "hello"})
		parallel(b, users, func(user int64) error {
			h := fleet[user%int64(len(fleet))]
			page, err := h.Read(b.Context(), history.Query{User: user, Groups: map[int64]int64{1: 0}, After: before})
			if err == nil && len(page.Records) != 2 {
				err = fmt.Errorf("%d records", len(page.Records))
			}
			return err
		})
	})
}

// BenchmarkGroupOf100000 is the reading of one message by 100,000 members, who are all notified at once. An operation
// is the message to all.
func BenchmarkGroupOf100000(b *testing.B) {
	const members, nodes = 100_000, 4
	fleet := openFleet(b, history.Options{Timeout: time.Minute})
	fleet = append(fleet, fleet[0])[:nodes]
	last := store(b, fleet[0], history.Message{ID: 1, Source: 1, Group: 1, Text: "before"})
	for i := 0; b.Loop(); i++ {
		store(b, fleet[0], history.Message{ID: int64(i + 2), Source: 1, Group: 1, Text: "hello"})
		var next, failed atomic.Int64
		var reading sync.WaitGroup
		for user := range int64(members) {
			reading.Go(func() {
				page, err := fleet[user%nodes].Read(b.Context(), history.Query{User: user + 2, Groups: map[int64]int64{1: 0}, After: last})
				if err != nil || len(page.Records) != 1 {
					failed.Add(1)
					return
				}
				next.Store(page.Next)
			})
		}
		reading.Wait()
		if failed.Load() > 0 {
			b.Fatalf("%d of %d members read nothing", failed.Load(), members)
		}
		last = next.Load()
	}
}

// BenchmarkLogin reads a user's three memberships, of many that there are.
func BenchmarkLogin(b *testing.B) {
	for _, memberships := range []int{3, 1_000_000} {
		b.Run(fmt.Sprintf("memberships=%d", memberships), func(b *testing.B) {
			h, _, conn := open(b, history.Options{})
			fillMembers(b, conn, memberships)
			parallel(b, 1, func(int64) error {
				groups, err := h.Groups(b.Context(), int64(memberships/6+1))
				if err == nil && len(groups) != 3 {
					err = fmt.Errorf("groups %v", groups)
				}
				return err
			})
		})
	}
}

// fillMembers stores memberships, three a user.
func fillMembers(b *testing.B, conn *nats.Conn, memberships int) {
	b.Helper()
	js, err := jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(4000))
	if err != nil {
		b.Fatal(err)
	}
	for i := range memberships {
		user, group := i/3+1, i%1000+1
		for _, key := range []string{fmt.Sprintf("u.%d.%d", user, group), fmt.Sprintf("g.%d.%d", group, user)} {
			if _, err := js.PublishAsync("$KV.im-groups."+key, []byte("0"), jetstream.WithStallWait(time.Minute)); err != nil {
				b.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithTimeout(b.Context(), 3*time.Minute)
	defer cancel()
	select {
	case <-js.PublishAsyncComplete():
	case <-ctx.Done():
		b.Fatal("not stored in time")
	}
}
