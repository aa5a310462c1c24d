package embedded_test

import (
	"context"
	"net"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/libnet-go/libnet/examples/im/internal/embedded"
)

func TestEtcdKeepsDataAndAddressThroughAnOutage(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	start := time.Now()
	etcd, err := embedded.StartEtcd(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Stop()
	t.Logf("ready after %v", time.Since(start).Round(time.Millisecond))

	client, err := clientv3.New(clientv3.Config{Endpoints: []string{etcd.Endpoint()}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	put, err := client.Put(ctx, "key", "value")
	if err != nil {
		t.Fatal(err)
	}
	watchCtx, stopWatch := context.WithCancel(ctx)
	defer stopWatch()
	events := client.Watch(watchCtx, "key", clientv3.WithCreatedNotify(), clientv3.WithRev(put.Header.Revision+1))
	if response := <-events; !response.Created {
		t.Fatalf("the watch begins with %v", response)
	}

	start = time.Now()
	etcd.Stop()
	etcd.Stop() // a second one finds nothing to do
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("stopping with a watch open took %v", took)
	}
	if conn, err := net.DialTimeout("tcp", etcd.Endpoint(), time.Second); err == nil {
		conn.Close()
		t.Error("somebody answers while the server is stopped")
	}
	if err := etcd.Start(ctx); err != nil {
		t.Fatal(err)
	}
	got, err := client.Get(ctx, "key")
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "value" {
		t.Errorf("after the outage the key holds %v", got.Kvs)
	}
	// The client's watch outlives the outage, as it does one of a server elsewhere.
	if _, err := client.Put(ctx, "key", "another"); err != nil {
		t.Fatal(err)
	}
	if response := <-events; response.Err() != nil || len(response.Events) != 1 {
		t.Errorf("the watch answered %v, %v", response.Events, response.Err())
	}
}

func TestEtcdStartGivesUpWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	etcd, err := embedded.StartEtcd(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	etcd.Stop()
	taken, err := net.Listen("tcp", etcd.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if err := etcd.Start(short); err == nil {
		etcd.Stop()
		t.Error("started on a port that somebody else has")
	}
}
