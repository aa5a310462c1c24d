package ids_test

import (
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/bwmarrin/snowflake"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/libnet-go/libnet/examples/im/internal/embedded"
	"github.com/libnet-go/libnet/examples/im/internal/ids"
	"github.com/libnet-go/libnet/examples/im/internal/imtest"
)

func TestMain(m *testing.M) { imtest.WaitingMain(m) }

func startEtcd(t testing.TB) (*embedded.Etcd, *clientv3.Client) {
	t.Helper()
	etcd := imtest.StartEtcd(t, t.TempDir())
	return etcd, imtest.Connect(t, etcd.Endpoint())
}

// newSource is New, with Abandon at the end of the test.
func newSource(t testing.TB, client *clientv3.Client, o ids.Options) *ids.Source {
	t.Helper()
	o.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	s := ids.New(client, o)
	t.Cleanup(s.Abandon)
	return s
}

func ready(t testing.TB, s *ids.Source) {
	t.Helper()
	select {
	case <-s.Ready():
	case <-time.After(imtest.Patience):
		t.Fatalf("no number within %v", imtest.Patience)
	}
}

// nextWithin waits until the source hands out ids again.
func nextWithin(t testing.TB, s *ids.Source) int64 {
	t.Helper()
	for end := time.Now().Add(imtest.Patience); ; time.Sleep(time.Millisecond) {
		id, err := s.Next()
		if err == nil {
			return id
		}
		if time.Now().After(end) {
			t.Fatalf("no id within %v", imtest.Patience)
		}
	}
}

// failsWithin waits until the source hands out none, and returns the last.
func failsWithin(t testing.TB, s *ids.Source) (last int64) {
	t.Helper()
	for end := time.Now().Add(imtest.Patience); time.Now().Before(end); time.Sleep(100 * time.Microsecond) {
		id, err := s.Next()
		if errors.Is(err, ids.ErrNoNumber) {
			return last
		}
		last = id
	}
	t.Fatalf("ids are still handed out after %v", imtest.Patience)
	return 0
}

func ms(id int64) int64 { return id>>22 + snowflake.Epoch }

func TestI1IdsOfSeveralNodesAreAllDifferentAndAscend(t *testing.T) {
	t.Parallel()
	_, client := startEtcd(t)
	const nodes, each = 8, 20_000
	made := make([][]int64, nodes)
	var running sync.WaitGroup
	for i := range made {
		s := newSource(t, client, ids.Options{})
		running.Go(func() {
			<-s.Ready()
			for range each {
				id, err := s.Next()
				if err != nil {
					t.Error(err)
					return
				}
				made[i] = append(made[i], id)
			}
		})
	}
	running.Wait()
	seen := make(map[int64]bool, nodes*each)
	for i, list := range made {
		if !slices.IsSorted(list) {
			t.Errorf("the ids of node %d do not ascend", i)
		}
		for _, id := range list {
			if seen[id] || id <= 0 {
				t.Fatalf("id %d: handed out before, or not positive", id)
			}
			seen[id] = true
		}
	}
	if len(seen) != nodes*each {
		t.Errorf("%d ids, want %d", len(seen), nodes*each)
	}
}

func TestI1OneSourceIsSafeForManyGoroutines(t *testing.T) {
	t.Parallel()
	_, client := startEtcd(t)
	s := newSource(t, client, ids.Options{})
	ready(t, s)
	var mu sync.Mutex
	seen := make(map[int64]bool)
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			for range 5000 {
				id, err := s.Next()
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if seen[id] {
					t.Errorf("id %d twice", id)
				}
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	running.Wait()
}

func TestI2NodesThatWantTheSameFewNumbersAtOnceShareNone(t *testing.T) {
	t.Parallel()
	_, client := startEtcd(t)
	const numbers = 8
	sources := make([]*ids.Source, numbers)
	for i := range sources {
		sources[i] = newSource(t, client, ids.Options{Numbers: numbers})
	}
	taken := make(map[int64]bool)
	for _, s := range sources {
		ready(t, s)
		n, ok := s.Number()
		if !ok || taken[n] || n < 0 || n >= numbers {
			t.Errorf("number %d, %v: of 0 to 7, and taken: %v", n, ok, taken)
		}
		taken[n] = true
	}
	// There is none left for a ninth, until one is given back.
	late := newSource(t, client, ids.Options{Numbers: numbers})
	if id, err := late.Next(); !errors.Is(err, ids.ErrNoNumber) {
		t.Errorf("without a number: %d, %v", id, err)
	}
	select {
	case <-late.Ready():
		t.Error("nine nodes share eight numbers")
	case <-time.After(200 * time.Millisecond):
	}
	if err := sources[3].Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if id, err := sources[3].Next(); !errors.Is(err, ids.ErrNoNumber) {
		t.Errorf("after Close: %d, %v", id, err)
	}
}

// The number's next node must find the ids of the one before in its own past, even when that one never
// gives the number back.
func TestI2ANumberPassesOnOnlyWhenItsIdsAreOfThePast(t *testing.T) {
	t.Parallel()
	_, client := startEtcd(t)
	first := newSource(t, client, ids.Options{Numbers: 1, TTL: 2 * time.Second})
	ready(t, first)
	leases, err := client.Leases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second := newSource(t, client, ids.Options{Numbers: 1, TTL: 2 * time.Second})

	// Somebody takes the lease away: the first node does not know, and hands out ids until it does.
	for _, lease := range leases.Leases {
		if _, err := client.Revoke(t.Context(), lease.ID); err != nil {
			t.Fatal(err)
		}
	}
	var ofFirst, ofSecond []int64
	for end := time.Now().Add(imtest.Patience); len(ofSecond) < 100; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d and %d ids within %v", len(ofFirst), len(ofSecond), imtest.Patience)
		}
		a, aErr := first.Next()
		b, bErr := second.Next()
		if aErr == nil && bErr == nil {
			t.Fatalf("two nodes hand out ids with the only number: %d and %d", a, b)
		}
		if aErr == nil {
			ofFirst = append(ofFirst, a)
		} else {
			first.Abandon() // or it may be the first again
		}
		if bErr == nil {
			ofSecond = append(ofSecond, b)
		}
	}
	if len(ofFirst) == 0 || slices.Max(ofFirst) >= slices.Min(ofSecond) {
		t.Errorf("the last of %d ids of the first node is later than the first of the second", len(ofFirst))
	}
	t.Logf("%d ids of the first node, then %d of the second", len(ofFirst), len(ofSecond))
}

func TestI2ALeaseThatMayHaveEndedStopsTheIdsBeforeItEnds(t *testing.T) {
	t.Parallel()
	etcd, client := startEtcd(t)
	const ttl = 4 * time.Second
	s := newSource(t, client, ids.Options{TTL: ttl})
	ready(t, s)
	etcd.Stop()
	gone := time.Now()
	if _, err := s.Next(); err != nil {
		t.Errorf("at the start of an outage: %v; it is shorter than the lease so far", err)
	}
	last := failsWithin(t, s)
	took := time.Since(gone)
	t.Logf("no ids from %v after etcd went away", took.Round(time.Millisecond))
	if took >= ttl {
		t.Errorf("ids were handed out for %v without etcd, the lease is %v", took, ttl)
	}
	for range 100 {
		if id, err := s.Next(); !errors.Is(err, ids.ErrNoNumber) {
			t.Fatalf("after that: %d, %v", id, err)
		}
	}
	if err := etcd.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	again := nextWithin(t, s)
	t.Logf("ids again %v after etcd was back", time.Since(began).Round(time.Millisecond))
	if ms(again) <= ms(last) {
		t.Errorf("id %d after %d", again, last)
	}
}

func TestAShortOutageIsNotNoticed(t *testing.T) {
	t.Parallel()
	etcd, client := startEtcd(t)
	const ttl = 6 * time.Second
	s := newSource(t, client, ids.Options{TTL: ttl})
	ready(t, s)
	before, _ := s.Number()
	etcd.Stop()
	for end := time.Now().Add(ttl / 10); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if _, err := s.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if err := etcd.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Past the end that the lease would have had: it was kept alive.
	for end := time.Now().Add(ttl); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if _, err := s.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if after, ok := s.Number(); !ok || after != before {
		t.Errorf("number %d, %v; it was %d", after, ok, before)
	}
}

func TestMoreNumbersThanASnowflakeHasAreAMistake(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("1,025 numbers were taken")
		}
	}()
	ids.New(nil, ids.Options{Numbers: 1025})
}
