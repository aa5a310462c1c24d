package embedded

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// retryStart is the pause between two attempts to start a server on a port that is still in use.
const retryStart = 100 * time.Millisecond

// Etcd is an etcd server of one member in this process. Its methods may be called by any goroutine.
type Etcd struct {
	// Immutable after StartEtcd.
	dir    string
	client url.URL
	peer   url.URL

	// mu guards the following, and is held while the server starts and stops.
	mu      sync.Mutex
	running *embed.Etcd
	cut     context.CancelFunc // ends the streams of running
}

// StartEtcd starts a server that keeps its data in dir, which it makes, and returns when the server
// answers; ctx bounds the wait. Nothing is flushed to the disk: the data outlives the server and the
// process, not a power cut.
func StartEtcd(ctx context.Context, dir string) (*Etcd, error) {
	var err error
	for range portTries {
		e := &Etcd{dir: dir}
		if e.client, err = loopbackURL(); err != nil {
			return nil, err
		}
		if e.peer, err = loopbackURL(); err != nil {
			return nil, err
		}
		if err = e.start(ctx); err == nil {
			return e, nil
		}
		if !isAddressInUse(err) || ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("embedded: etcd: %w", err)
}

func loopbackURL() (url.URL, error) {
	port, err := freePort()
	return url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", port)}, err
}

// Endpoint is the address that clients take, host:port. It stays the same through Stop and Start.
func (e *Etcd) Endpoint() string { return e.client.Host }

// Stop ends the server at once, as an outage does. It is the end as well: nothing is left running.
// A server that is stopped already stays so.
func (e *Etcd) Stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.running != nil {
		e.stopLocked()
	}
}

// Start runs a stopped server again, on the same data and port, and returns when it answers. A
// running one is left alone. It retries for as long as ctx allows.
func (e *Etcd) Start(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for e.running == nil {
		err := e.start(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("embedded: etcd: %w", errors.Join(ctx.Err(), err))
		case <-time.After(retryStart):
		}
	}
	return nil
}

// start is called with mu held or before anybody else knows e.
func (e *Etcd) start(ctx context.Context) error {
	streams, cut := context.WithCancel(context.Background())
	config := embed.NewConfig()
	config.Dir = e.dir
	config.ListenClientUrls = []url.URL{e.client}
	config.AdvertiseClientUrls = config.ListenClientUrls
	config.ListenPeerUrls = []url.URL{e.peer}
	config.AdvertisePeerUrls = config.ListenPeerUrls
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.UnsafeNoFsync = true
	config.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	config.GRPCAdditionalServerOptions = []grpc.ServerOption{grpc.ChainStreamInterceptor(cutStreams(streams))}

	running, err := embed.StartEtcd(config)
	if err != nil {
		cut()
		return err
	}
	e.running, e.cut = running, cut
	select {
	case <-running.Server.ReadyNotify():
		return nil
	case err = <-running.Err():
	case <-ctx.Done():
		err = ctx.Err()
	}
	e.stopLocked()
	return err
}

func (e *Etcd) stopLocked() {
	e.cut()
	e.running.Close()
	e.running = nil
}

// cutStreams ends every stream when the server stops, with the error of a server that is gone. A stop
// would otherwise wait 7 s for the watches and keep-alives, which never end by themselves.
func cutStreams(stopped context.Context) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		ctx, cancel := context.WithCancel(stream.Context())
		defer cancel()
		defer context.AfterFunc(stopped, cancel)()
		err := handler(srv, &cuttableStream{stream, ctx})
		if stopped.Err() != nil {
			return status.Error(codes.Unavailable, "the server stops")
		}
		return err
	}
}

type cuttableStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *cuttableStream) Context() context.Context { return s.ctx }
