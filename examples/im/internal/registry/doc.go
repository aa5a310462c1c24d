// Package registry is how the gateway knows which access servers are alive: each puts its address and
// load under a key of its own in etcd, on a lease that ends with it, and the gateway watches the keys.
//
//	client, err := registry.Connect("127.0.0.1:2379")
//	// an access server:
//	r := registry.Register(client, registry.Options{Server: registry.Server{ID: "a", Addr: "10.0.0.7:7000", Capacity: 10000}, Load: sessions})
//	defer r.Close(ctx)
//	// the gateway:
//	w := registry.Watch(client, registry.WatchOptions{})
//	defer w.Close()
//	for server := range w.Snapshot().All() { ... }
//
// Neither side ever gives up. A [Registration] that loses its lease, or cannot reach etcd, takes a new
// lease and puts its key again, for as long as it exists. A [Watcher] keeps the last list it knew for as
// long as etcd is away.
package registry

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
)

const (
	// TTL is how long a server that was killed stays in the registry, at most; etcd looks for leases
	// that have ended twice a second.
	TTL = 5 * time.Second

	// DefaultPrefix is where the keys are unless the options say otherwise.
	DefaultPrefix = "/im/access/"

	// requestTimeout bounds every request to etcd.
	requestTimeout = 2 * time.Second

	// loginTimeout bounds the check of a password, which etcd makes costly by design: a second of a processor's time
	// where a debug build does it.
	loginTimeout = 10 * time.Second

	// Pauses after failures grow from the first to the last, with jitter of half to one and a half
	// times: many servers that lost etcd together do not come back together.
	firstPause = 50 * time.Millisecond
	lastPause  = 800 * time.Millisecond
	// stableAfter is how long something must have gone well for the next pause to be the first again.
	stableAfter = 2 * time.Second
)

// Connect returns a client for an etcd at these endpoints, each host:port. It does not wait for etcd,
// which may come up later. The caller closes it after what uses it.
func Connect(endpoints ...string) (*clientv3.Client, error) { return ConnectAs(Access{}, endpoints...) }

// ConnectAs is Connect for an etcd that asks who connects: with a user it waits, 10 s at the most, until etcd has
// checked the password.
func ConnectAs(a Access, endpoints ...string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{
		Endpoints:            endpoints,
		TLS:                  a.TLS,
		Username:             a.User,
		Password:             a.Password,
		DialTimeout:          loginTimeout,     // clientv3 waits for nothing else as it is made
		DialKeepAliveTime:    10 * time.Second, // gRPC does not go below
		DialKeepAliveTimeout: requestTimeout,
		Logger:               zap.NewNop(), // what fails is returned, and logged by those who called
		DialOptions: []grpc.DialOption{
			// gRPC's own pauses between attempts to connect grow to 2 minutes: after an etcd outage of
			// 30 s a client would be away for 20 s more.
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff: grpcbackoff.Config{
					BaseDelay: firstPause, Multiplier: 1.6, Jitter: 0.2, MaxDelay: lastPause / 2,
				},
				MinConnectTimeout: requestTimeout,
			}),
		},
	})
}

func newBackOff() *backoff.ExponentialBackOff {
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval = firstPause
	pauses.MaxInterval = lastPause
	return pauses
}

// pause waits for d or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
