package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/libnet-go/libnet/cluster"
	"github.com/libnet-go/libnet/examples/im/internal/access"
	"github.com/libnet-go/libnet/examples/im/internal/history"
	"github.com/libnet-go/libnet/examples/im/internal/ids"
	"github.com/libnet-go/libnet/examples/im/internal/registry"
	"github.com/libnet-go/libnet/examples/im/internal/token"
)

// clusterName is what the access servers of one installation have in common on NATS.
const clusterName = "im"

func runAccess(ctx context.Context, args []string, std std) error {
	flags := newFlags("access", std)
	flags.withEtcd("")
	flags.withNATS("")
	o := accessOptions{}
	flags.StringVar(&o.id, "id", "", "a `name` that no other access server has; default random")
	flags.StringVar(&o.listen, "listen", "127.0.0.1:0", "`address` for clients over TCP")
	flags.StringVar(&o.listenWebSocket, "listen-websocket", "127.0.0.1:0", "`address` for browsers")
	flags.StringVar(&o.advertise, "advertise", "", "`host:port` at which clients reach -listen; default the address itself")
	flags.StringVar(&o.advertiseWebSocket, "advertise-websocket", "", "`URL` at which browsers reach -listen-websocket, such as wss://im.example.com/ws")
	flags.IntVar(&o.capacity, "capacity", 10_000, "how many sessions it is made for: its weight in the gateway's choice, and twice that the most it takes")
	origins := flags.String("origins", "127.0.0.1:*,localhost:*", "`hosts` of the pages that may connect, with commas between them")
	keyFile := flags.String("key-file", "", "`file` with the key that all access servers share; made when it is not there")
	legacySalt := flags.String("legacy-salt", "", "accept the tokens of old clients, too, made with this `salt`")
	if err := flags.parse(args); err != nil {
		return err
	}
	if flags.etcd == "" || flags.nats == "" {
		return errors.New("an access server needs -etcd and -nats")
	}
	var err error
	if o.tokens, err = readTokens(*keyFile, *legacySalt); err != nil {
		return err
	}
	o.etcd, o.nats, o.origins, o.log = list(flags.etcd), list(flags.nats), list(*origins), flags.logger()

	server, err := startAccess(ctx, o)
	if err != nil {
		return err
	}
	fmt.Fprintf(std.out, "access server %s: clients at %s, browsers at %s\n", server.id, server.addr, server.webSocket)
	<-ctx.Done()
	fmt.Fprintf(std.out, "access server %s: draining %d sessions\n", server.id, server.server.Load())
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	return server.drain(stopping)
}

// accessOptions is what an access server is started with.
type accessOptions struct {
	id                            string
	etcd, nats                    []string
	listen, listenWebSocket       string
	advertise, advertiseWebSocket string
	capacity                      int
	origins                       []string
	tokens                        *token.Tokens
	log                           *slog.Logger
}

// accessServer is an access server with everything that it stands on: its node in the cluster, its place
// in the registry and its numbers for ids.
type accessServer struct {
	// Immutable after startAccess.
	id, addr, webSocket string
	etcd                *clientv3.Client
	node                *cluster.Node
	ids                 *ids.Source
	server              *access.Server
	registration        *registry.Registration

	end sync.Once
}

// startAccess returns when the gateway can know of the server. etcd and NATS may be starting still.
func startAccess(ctx context.Context, o accessOptions) (_ *accessServer, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := o.check(); err != nil {
		return nil, err
	}
	named := o.id != ""
	if !named {
		o.id = "access-" + strings.ToLower(rand.Text()[:8])
	}
	s := &accessServer{id: o.id}
	defer func() {
		if err != nil {
			s.kill()
		}
	}()
	if s.etcd, err = registry.Connect(o.etcd...); err != nil {
		return nil, err
	}
	if named { // before anything is done under the name, which would disturb the one that has it
		if err = registry.Free(ctx, s.etcd, o.id); err != nil {
			return nil, unregistered(err, o)
		}
	}
	// The number for ids is leased while NATS is connected to.
	s.ids = ids.New(s.etcd, ids.Options{Owner: o.id, Logger: o.log})
	if s.node, err = joinCluster(ctx, o); err != nil {
		return nil, err
	}
	stored, err := history.Open(ctx, s.node.Conn(), history.Options{})
	if err != nil {
		return nil, err
	}
	select {
	case <-s.ids.Ready():
	case <-ctx.Done():
		return nil, unreachable("etcd", o.etcd, ctx.Err())
	}
	s.server, err = access.Start(access.Options{
		Cluster: s.node, History: stored, Tokens: o.tokens, NextID: s.ids.Next,
		Listen: o.listen, ListenWebSocket: o.listenWebSocket, Origins: o.origins,
		MaxSessions: 2 * o.capacity, Logger: o.log,
	})
	if err != nil {
		return nil, err
	}
	s.addr = cmp.Or(o.advertise, s.server.Addr())
	s.webSocket = cmp.Or(o.advertiseWebSocket, s.server.WebSocketURL())
	s.registration = registry.Register(s.etcd, registry.Options{
		Server: registry.Server{ID: o.id, Addr: s.addr, WebSocket: s.webSocket, Capacity: o.capacity},
		Load:   s.server.Load,
		Logger: o.log,
	})
	select {
	case <-s.registration.Registered():
	case <-ctx.Done():
		return nil, unregistered(cmp.Or(s.registration.Err(), ctx.Err()), o)
	}
	return s, nil
}

// unregistered says why a server is not in the registry.
func unregistered(cause error, o accessOptions) error {
	if errors.Is(cause, registry.ErrTaken) {
		return fmt.Errorf("%w: choose another -id", cause)
	}
	return unreachable("etcd", o.etcd, cause)
}

// joinCluster waits for a NATS that is not there yet.
func joinCluster(ctx context.Context, o accessOptions) (*cluster.Node, error) {
	for waiting := false; ; waiting = true {
		node, err := cluster.New(ctx, cluster.Options{Cluster: clusterName, NodeID: o.id, Servers: o.nats, Logger: o.log})
		var network *net.OpError
		if err == nil || !errors.As(err, &network) && !errors.Is(err, nats.ErrNoServers) {
			return node, err
		}
		if !waiting {
			o.log.Warn("NATS does not answer, waiting for it", "error", err)
		}
		if !pause(ctx, retryNATS) {
			return nil, unreachable("NATS", o.nats, ctx.Err())
		}
	}
}

// retryNATS is the pause between attempts to connect to a NATS that is not there at the start.
const retryNATS = 200 * time.Millisecond

// drain ends the server so that nobody loses anything: first the gateway sends nobody here any more, then
// its clients are sent elsewhere, with everything that was acknowledged.
func (s *accessServer) drain(ctx context.Context) error {
	var errs []error
	s.end.Do(func() {
		announcing, cancel := context.WithTimeout(ctx, stopTimeout)
		announced := s.registration.Drain(announcing) == nil
		cancel()
		errs = append(errs, s.node.Drain(ctx), s.server.Drain(ctx))
		if announced {
			_ = s.registration.Close(ctx) // what fails here ends with its lease
			_ = s.ids.Close(ctx)
		} else { // without etcd the gateway cannot be told, and its clients find out by themselves
			s.registration.Abandon()
			s.ids.Abandon()
		}
		errs = append(errs, s.node.Close(), s.etcd.Close())
	})
	return errors.Join(errs...)
}

// kill ends the server as a crash does: nobody is told anything, and whoever relies on it has to notice.
func (s *accessServer) kill() {
	s.end.Do(func() {
		if s.registration != nil {
			s.registration.Abandon()
		}
		if s.node != nil {
			s.node.Conn().Close() // before anything could say goodbye on it
		}
		if s.server != nil {
			s.server.Kill()
		}
		if s.ids != nil {
			s.ids.Abandon()
		}
		if s.node != nil {
			_ = s.node.Close()
		}
		if s.etcd != nil {
			_ = s.etcd.Close()
		}
	})
}
