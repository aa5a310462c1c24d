package registry_test

import (
	"context"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/libnet-go/libnet/examples/im/internal/imtest"
	"github.com/libnet-go/libnet/examples/im/internal/registry"
)

// watches stands in front of a client's watches and makes the first one fail.
type watches struct {
	clientv3.Watcher
	opened atomic.Int64
	first  func(ctx context.Context, watch func() clientv3.WatchChan) clientv3.WatchChan
}

func (w *watches) Watch(ctx context.Context, key string, opts ...clientv3.OpOption) clientv3.WatchChan {
	watch := func() clientv3.WatchChan { return w.Watcher.Watch(ctx, key, opts...) }
	if w.opened.Add(1) == 1 {
		return w.first(ctx, watch)
	}
	return watch()
}

func TestD1AWatcherKnowsWhatWasThereBeforeItAndWhatComesAfter(t *testing.T) {
	t.Parallel()
	client := imtest.Connect(t, imtest.StartEtcd(t, t.TempDir()).Endpoint())
	wait(t, register(t, client, registry.Options{Server: server("before")}).Registered(), "registered")
	w := watch(t, client)
	wait(t, w.Ready(), "listed")
	if got := ids(w); !slices.Equal(got, []string{"before"}) {
		t.Fatalf("the first list is %q", got)
	}
	register(t, client, registry.Options{Server: server("after")})
	imtest.Eventually(t, "both", func() bool { return slices.Equal(ids(w), []string{"after", "before"}) })
}

func TestD1AWatchThatIsCancelledCompactedOrSilentIsReplaced(t *testing.T) {
	t.Parallel()
	etcd := imtest.StartEtcd(t, t.TempDir())
	writer := imtest.Connect(t, etcd.Endpoint())
	for _, test := range []struct {
		name  string
		first func(ctx context.Context, watch func() clientv3.WatchChan) clientv3.WatchChan
	}{
		{"closed", func(context.Context, func() clientv3.WatchChan) clientv3.WatchChan {
			closed := make(chan clientv3.WatchResponse)
			close(closed)
			return closed
		}},
		{"cancelled", func(context.Context, func() clientv3.WatchChan) clientv3.WatchChan {
			cancelled := make(chan clientv3.WatchResponse, 1)
			cancelled <- clientv3.WatchResponse{Canceled: true}
			close(cancelled)
			return cancelled
		}},
		{"compacted", func(ctx context.Context, watch func() clientv3.WatchChan) clientv3.WatchChan {
			// The revision that the watch is to begin at is gone by the time it begins.
			var last int64
			for range 3 {
				put, err := writer.Put(ctx, "/elsewhere", "")
				if err != nil {
					t.Error(err)
					break
				}
				last = put.Header.Revision
			}
			if _, err := writer.Compact(ctx, last); err != nil {
				t.Error(err)
			}
			return watch()
		}},
		{"silent", func(ctx context.Context, _ func() clientv3.WatchChan) clientv3.WatchChan {
			silent := make(chan clientv3.WatchResponse)
			context.AfterFunc(ctx, func() { close(silent) })
			return silent
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			client := imtest.Connect(t, etcd.Endpoint())
			broken := &watches{Watcher: client.Watcher, first: test.first}
			client.Watcher = broken
			w := watch(t, client)
			wait(t, w.Ready(), "listed")
			// What the broken watch does not tell comes with another list, what comes later with another watch.
			for _, id := range []string{"first", "second"} {
				id = test.name + " " + id
				register(t, writer, registry.Options{Server: server(id)})
				took := imtest.Eventually(t, id, func() bool { _, ok := w.Snapshot().Get(id); return ok })
				t.Logf("%s: known after %v", id, took.Round(time.Millisecond))
				imtest.Eventually(t, "another watch", func() bool { return broken.opened.Load() > 1 })
			}
			if n := broken.opened.Load(); n != 2 {
				t.Errorf("%d watches were opened, want 2", n)
			}
		})
	}
}

func TestD2AServerThatMovedHasItsNewAddress(t *testing.T) {
	t.Parallel()
	client := imtest.Connect(t, imtest.StartEtcd(t, t.TempDir()).Endpoint())
	w := watch(t, client)
	for _, addr := range []string{"10.0.0.1:7000", "10.0.0.2:7000"} {
		s := server("a")
		s.Addr = addr
		if err := registry.Free(t.Context(), client, s.ID); err != nil {
			t.Fatal(err)
		}
		r := register(t, client, registry.Options{Server: s})
		imtest.Eventually(t, addr, func() bool { s, _ := w.Snapshot().Get("a"); return s.Addr == addr })
		r.Abandon() // it crashes; the next has the key when its lease has ended
	}
	if n := w.Snapshot().Len(); n != 1 {
		t.Errorf("%d servers, want 1", n)
	}
}

func TestD2AServerThatMovedDuringAnOutageHasItsNewAddress(t *testing.T) {
	t.Parallel()
	etcd := imtest.StartEtcd(t, t.TempDir())
	client := imtest.Connect(t, etcd.Endpoint())
	old := server("a")
	r := register(t, client, registry.Options{Server: old})
	w := watch(t, imtest.Connect(t, etcd.Endpoint()))
	imtest.Eventually(t, "listed", func() bool { return w.Snapshot().Len() == 1 })
	etcd.Stop()
	imtest.Eventually(t, "the watcher notices", w.Away)
	r.Abandon()
	moved := old
	moved.Addr = "10.0.0.2:7000"
	register(t, client, registry.Options{Server: moved})
	if err := etcd.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	imtest.Eventually(t, "the new address", func() bool { s, _ := w.Snapshot().Get("a"); return s.Addr == moved.Addr })
}

func TestD4AServerThatClosesIsGoneAtOnceAndOneThatCrashesAfterItsLease(t *testing.T) {
	t.Parallel()
	client := imtest.Connect(t, imtest.StartEtcd(t, t.TempDir()).Endpoint())
	closes := register(t, client, registry.Options{Server: server("closes")})
	crashes := register(t, client, registry.Options{Server: server("crashes")})
	w := watch(t, client)
	imtest.Eventually(t, "both", func() bool { return w.Snapshot().Len() == 2 })

	if err := closes.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := closes.Close(t.Context()); err != nil {
		t.Errorf("a second Close: %v", err)
	}
	took := imtest.Eventually(t, "one is gone", func() bool { return slices.Equal(ids(w), []string{"crashes"}) })
	t.Logf("closed: gone after %v", took.Round(time.Millisecond))

	crashes.Abandon()
	took = imtest.Eventually(t, "the other is gone", func() bool { return w.Snapshot().Len() == 0 })
	t.Logf("crashed: gone after %v", took.Round(time.Millisecond))
	if took > registry.TTL+time.Second {
		t.Errorf("a crashed server was listed for %v, want %v at most", took, registry.TTL+time.Second)
	}
}

func TestTheListOutlivesAnOutageAndServersAreBackAfterIt(t *testing.T) {
	t.Parallel()
	etcd := imtest.StartEtcd(t, t.TempDir())
	client := imtest.Connect(t, etcd.Endpoint())
	names := []string{"a", "b", "c"}
	for _, id := range names {
		register(t, client, registry.Options{Server: server(id)})
	}
	w := watch(t, imtest.Connect(t, etcd.Endpoint()))
	imtest.Eventually(t, "all", func() bool { return w.Snapshot().Len() == len(names) })

	outage := 3 * time.Second
	if *full {
		outage = 30 * time.Second
	}
	stop, looked := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(looked)
		for {
			if got := ids(w); !slices.Equal(got, names) {
				t.Errorf("in the outage the list is %q", got)
				return
			}
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	before := w.Snapshot().Revision()
	etcd.Stop()
	time.Sleep(outage) // the length is the point
	imtest.Eventually(t, "the watcher notices the outage", w.Away)
	if err := etcd.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	took := imtest.Eventually(t, "all have registered again", func() bool {
		for s := range w.Snapshot().All() {
			if s.Report <= before {
				return false
			}
		}
		return !w.Away()
	})
	t.Logf("registered again %v after an outage of %v", took.Round(time.Millisecond), outage)
	if took > imtest.ReturnLimit {
		t.Errorf("registered again after %v, want %v at most", took, imtest.ReturnLimit)
	}
	// And what was kept through the outage stays: the old leases have no keys any more.
	time.Sleep(registry.TTL + time.Second)
	close(stop)
	<-looked
}

func TestAnEtcdThatComesBackEmptyCostsNoServer(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), imtest.Patience)
	defer cancel()
	dir := t.TempDir()
	etcd := imtest.StartEtcd(t, dir)
	client := imtest.Connect(t, etcd.Endpoint())
	for range 50 { // the history that is lost is longer than the one that follows
		if _, err := client.Put(ctx, "/elsewhere", ""); err != nil {
			t.Fatal(err)
		}
	}
	stays := register(t, client, registry.Options{Server: server("stays")})
	goes := register(t, client, registry.Options{Server: server("goes")})
	wait(t, stays.Registered(), "registered")
	w := watch(t, imtest.Connect(t, etcd.Endpoint()))
	imtest.Eventually(t, "both", func() bool { return w.Snapshot().Len() == 2 })

	etcd.Stop()
	imtest.Eventually(t, "the watcher notices", w.Away)
	goes.Abandon()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := etcd.Start(ctx); err != nil {
		t.Fatal(err)
	}
	imtest.Eventually(t, "the one that died is gone", func() bool {
		got := ids(w)
		if !slices.Contains(got, "stays") {
			t.Fatalf("the list is %q", got)
		}
		return len(got) == 1
	})
	// The watch is one of the new, shorter history.
	register(t, client, registry.Options{Server: server("new")})
	imtest.Eventually(t, "a new one", func() bool { return w.Snapshot().Len() == 2 })
}

func TestAKeyThatDescribesNoServerIsNoneAndDisturbsNothing(t *testing.T) {
	t.Parallel()
	client := imtest.Connect(t, imtest.StartEtcd(t, t.TempDir()).Endpoint())
	for key, value := range map[string]string{
		"garbage": "\xff", "empty": "", "list": "[]", "nobody": "{}", "nowhere": `{"id":"nowhere","capacity":1}`,
		"no-room": `{"id":"no-room","addr":"x"}`, "negative": `{"id":"negative","addr":"x","capacity":1,"sessions":-1}`,
		"somebody": `{"id":"else","addr":"x","capacity":1}`,
	} {
		if _, err := client.Put(t.Context(), registry.DefaultPrefix+key, value); err != nil {
			t.Fatal(err)
		}
	}
	counted := &watches{Watcher: client.Watcher}
	counted.first = func(_ context.Context, watch func() clientv3.WatchChan) clientv3.WatchChan { return watch() }
	client.Watcher = counted
	w := registry.Watch(client, registry.WatchOptions{Logger: imtest.Quiet, ProbeEvery: 100 * time.Millisecond})
	t.Cleanup(w.Close)
	register(t, client, registry.Options{Server: server("good"), ReportEvery: 10 * time.Millisecond})
	imtest.Eventually(t, "the good one", func() bool { return slices.Equal(ids(w), []string{"good"}) })
	// Every second probe that found a difference would have opened another watch.
	time.Sleep(2 * time.Second)
	if n := counted.opened.Load(); n > 3 {
		t.Errorf("%d watches were opened, want 1", n)
	}
}

func TestG9ASnapshotIsReadWhileTheListChanges(t *testing.T) {
	t.Parallel()
	client := imtest.Connect(t, imtest.StartEtcd(t, t.TempDir()).Endpoint())
	w := watch(t, client)
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			for {
				snapshot := w.Snapshot()
				n := 0
				for s := range snapshot.All() {
					if again, ok := snapshot.Get(s.ID); !ok || again != s {
						t.Errorf("%v is %v, %v on the second look", s, again, ok)
					}
					n++
				}
				if n != snapshot.Len() {
					t.Errorf("%d servers in a list of %d", n, snapshot.Len())
				}
				select {
				case <-stop:
					return
				default:
					runtime.Gosched()
				}
			}
		})
	}
	for range 8 {
		r := register(t, client, registry.Options{Server: server("comes-and-goes")})
		imtest.Eventually(t, "there", func() bool { return w.Snapshot().Len() == 1 })
		if err := r.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		imtest.Eventually(t, "gone", func() bool { return w.Snapshot().Len() == 0 })
	}
	close(stop)
	readers.Wait()
}
