// Package imtest is what the tests of the messenger's packages share.
package imtest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/libnet-go/libnet/examples/im/internal/embedded"
	"github.com/libnet-go/libnet/examples/im/internal/registry"
)

// Patience bounds waits for what must happen and is not measured, on a machine that has other things to do.
const Patience = 60 * time.Second

// ReturnLimit bounds how long servers may take to be registered again after an outage of etcd. im -demo measures it,
// and holds it to 3 s; a test beside others only finds pauses that have grown with the outage: gRPC's own would be 20
// s.
const ReturnLimit = 15 * time.Second

// Quiet discards what is logged.
var Quiet = slog.New(slog.DiscardHandler)

// Eventually waits for a condition that no channel tells, and returns how long it took.
func Eventually(t testing.TB, what string, condition func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !condition() {
		if time.Since(began) > Patience {
			t.Fatalf("not within %v: %s", Patience, what)
		}
		time.Sleep(time.Millisecond)
	}
	return time.Since(began)
}

// Bounded is the test's context, with an end after Patience.
func Bounded(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	t.Cleanup(cancel)
	return ctx
}

// StartEtcd starts an etcd that keeps its files in dir, and stops it at the end of the test.
func StartEtcd(t testing.TB, dir string) *embedded.Etcd {
	t.Helper()
	etcd, err := embedded.StartEtcd(Bounded(t), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(etcd.Stop)
	return etcd
}

// StartNATS starts a NATS that keeps its files in dir, and stops it at the end of the test.
func StartNATS(t testing.TB, dir string) *embedded.NATS {
	t.Helper()
	nats, err := embedded.StartNATS(Bounded(t), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nats.Stop)
	return nats
}

// StartNATSCluster starts a cluster of NATS servers that keep their files in dir, and stops them at the end of the
// test.
func StartNATSCluster(t testing.TB, dir string, size int) []*embedded.NATS {
	t.Helper()
	members, err := embedded.StartNATSCluster(Bounded(t), dir, size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, member := range members {
			member.Stop()
		}
	})
	return members
}

// Connect returns a client of an etcd, which is closed at the end of the test.
func Connect(t testing.TB, endpoints ...string) *clientv3.Client {
	t.Helper()
	client, err := registry.Connect(endpoints...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}
