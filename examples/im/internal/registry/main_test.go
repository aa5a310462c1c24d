package registry_test

import (
	"context"
	"flag"
	"log/slog"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/libnet-go/libnet/examples/im/internal/embedded"
	"github.com/libnet-go/libnet/examples/im/internal/registry"
	"github.com/libnet-go/libnet/libnettest"
)

var full = flag.Bool("full", false, "an outage of 30 s instead of 3 s")

func TestMain(m *testing.M) { libnettest.VerifyMain(m) }

// patience bounds waits for what must happen and is not measured.
const patience = 30 * time.Second

var quiet = slog.New(slog.DiscardHandler)

func startEtcd(t testing.TB) *embedded.Etcd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	etcd, err := embedded.StartEtcd(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(etcd.Stop)
	return etcd
}

func connect(t testing.TB, etcd *embedded.Etcd) *clientv3.Client {
	t.Helper()
	client, err := registry.Connect(etcd.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func server(id string) registry.Server {
	return registry.Server{ID: id, Addr: "127.0.0.1:7000", Capacity: 1000}
}

// register is Register, with Abandon at the end of the test.
func register(t testing.TB, client *clientv3.Client, o registry.Options) *registry.Registration {
	t.Helper()
	o.Logger = quiet
	r := registry.Register(client, o)
	t.Cleanup(r.Abandon)
	return r
}

func watch(t testing.TB, client *clientv3.Client) *registry.Watcher {
	t.Helper()
	w := registry.Watch(client, registry.WatchOptions{Logger: quiet})
	t.Cleanup(w.Close)
	return w
}

func wait(t testing.TB, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("not within %v: %s", patience, what)
	}
}

// until waits for a condition that no channel tells, and returns how long it took.
func until(t testing.TB, what string, condition func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !condition() {
		if time.Since(began) > patience {
			t.Fatalf("not within %v: %s", patience, what)
		}
		time.Sleep(time.Millisecond)
	}
	return time.Since(began)
}

func ids(w *registry.Watcher) []string {
	var ids []string
	for s := range w.Snapshot().All() {
		ids = append(ids, s.ID)
	}
	return ids
}
