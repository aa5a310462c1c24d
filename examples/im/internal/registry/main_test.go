package registry_test

import (
	"flag"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/libnet-go/libnet/examples/im/internal/imtest"
	"github.com/libnet-go/libnet/examples/im/internal/registry"
)

var full = flag.Bool("full", false, "an outage of 30 s instead of 3 s")

func TestMain(m *testing.M) { imtest.WaitingMain(m) }

func server(id string) registry.Server {
	return registry.Server{ID: id, Addr: "127.0.0.1:7000", Capacity: 1000}
}

// register is Register, with Abandon at the end of the test.
func register(t testing.TB, client *clientv3.Client, o registry.Options) *registry.Registration {
	t.Helper()
	o.Logger = imtest.Quiet
	r := registry.Register(client, o)
	t.Cleanup(r.Abandon)
	return r
}

func watch(t testing.TB, client *clientv3.Client) *registry.Watcher {
	t.Helper()
	w := registry.Watch(client, registry.WatchOptions{Logger: imtest.Quiet})
	t.Cleanup(w.Close)
	return w
}

func wait(t testing.TB, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(imtest.Patience):
		t.Fatalf("not within %v: %s", imtest.Patience, what)
	}
}

func ids(w *registry.Watcher) []string {
	var ids []string
	for s := range w.Snapshot().All() {
		ids = append(ids, s.ID)
	}
	return ids
}
