package access

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/libnet-go/libnet/cluster"
	"github.com/libnet-go/libnet/examples/im/internal/history"
	"github.com/libnet-go/libnet/examples/im/internal/ids"
	"github.com/libnet-go/libnet/examples/im/internal/quota"
	"github.com/libnet-go/libnet/examples/im/internal/registry"
	"github.com/libnet-go/libnet/examples/im/internal/wait"
)

const (
	// clusterName is what the access servers of one installation have in common on NATS.
	clusterName = "im"

	// retryNATS is the pause between attempts to connect to a NATS that is not there at the start.
	retryNATS = 200 * time.Millisecond

	// announceTimeout is how long Drain waits for etcd to take the news.
	announceTimeout = 3 * time.Second
)

// InstanceOptions is what an instance is started with. Etcd, NATS, Tokens and Capacity are required; of the others zero
// means the default.
type InstanceOptions struct {
	ID         string // no other access server has it; default random
	Etcd, NATS []string
	EtcdAccess registry.Access // what etcd asks for
	Tokens     Tokens
	Capacity   int // sessions: the weight in the gateway's choice, and half of MaxSessions

	Listen, ListenWebSocket       string   // as in Options
	Advertise, AdvertiseWebSocket string   // where clients reach the two; default the addresses themselves
	Origins                       []string // as in Options

	History history.Options // of the store
	Quotas  quota.Limits    // of each sender

	// StartTimeout bounds how long etcd and NATS are waited for; default 30 s. For a NATS that is there, and whose
	// JetStream is not ready or has no room, StartInstance waits as long as its context.
	StartTimeout time.Duration

	// CutAfter is how long NATS may be silent before the server says so in the registry, for the gateway to send nobody
	// here, and sends its users away; default 3 s, negative: never.
	CutAfter time.Duration

	// KeyFingerprint is that of Tokens: a server whose is another than that of the servers before it is refused with
	// registry.ErrOtherKey. "": it is not compared.
	KeyFingerprint string

	LoginTimeout  time.Duration // as in Options
	MaxPerAddress int           // sessions from one IPv4 address, or IPv6 /64; default a tenth of Capacity, negative: no bound
	MessageRate   int           // as in Options
	LoginRate     float64       // as in Options
	TLS           *tls.Config   // for Listen and ListenWebSocket; nil: no TLS

	NATSTLS     *tls.Config   // of the connection to NATS; nil: as its URLs say
	NATSOptions []nats.Option // of the connection to NATS, besides those that the server rests on
	Logger      *slog.Logger
}

// An Instance is a Server with everything that it stands on: its node in the cluster, its place in the registry and its
// numbers for ids.
type Instance struct {
	// Immutable after StartInstance.
	ID, Addr, WebSocket string
	Node                *cluster.Node

	etcd         *clientv3.Client
	ids          *ids.Source
	server       *Server
	registration *registry.Registration

	life     context.Context // ends with the instance
	endLife  context.CancelFunc
	watching sync.WaitGroup
	failed   chan error    // takes one
	lost     chan struct{} // onHealth closes, watchNATS receives
	loss     sync.Once

	end sync.Once
}

// defaultStartTimeout is long for a server that is starting, and short for who has mistyped an address.
const defaultStartTimeout = 30 * time.Second

// StartInstance returns when the gateway can know of the server. etcd and NATS may be starting still: it waits for
// them. A second server of the same ID is refused with an error that wraps registry.ErrTaken.
func StartInstance(ctx context.Context, o InstanceOptions) (_ *Instance, err error) {
	byDefault(&o.Logger, slog.Default())
	byDefault(&o.StartTimeout, defaultStartTimeout)
	byDefault(&o.CutAfter, defaultCutAfter)
	i := &Instance{ID: cmp.Or(o.ID, "access-"+strings.ToLower(rand.Text()[:8])), failed: make(chan error, 1), lost: make(chan struct{})}
	i.life, i.endLife = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			i.Kill()
		}
	}()
	if i.etcd, err = registry.ConnectAs(o.EtcdAccess, o.Etcd...); err != nil {
		return nil, err
	}
	// Before anything is done under the name, which would disturb the one that has it.
	if err = i.agree(ctx, o); err != nil {
		return nil, err
	}
	// A number for ids is leased meanwhile. Messages do not wait for it.
	i.ids = ids.New(i.etcd, ids.Options{Owner: i.ID, Logger: o.Logger})
	if i.Node, err = i.joinCluster(ctx, o); err != nil {
		return nil, err
	}
	if err = i.serve(ctx, o); err != nil {
		return nil, err
	}
	if err = i.register(ctx, o); err != nil {
		return nil, err
	}
	i.watching.Go(func() { i.watchNATS(o) })
	return i, nil
}

// watchNATS acts on what becomes of the connection to NATS. It is the one place that does.
func (i *Instance) watchNATS(o InstanceOptions) {
	l := &lifeline{conn: i.Node.Conn(), lost: i.lost, after: o.CutAfter, setCut: i.setCut, log: o.Logger.With("server", i.ID)}
	if o.CutAfter < 0 {
		l.after = math.MaxInt64
	}
	if err := l.watch(i.life); err != nil {
		i.setCut(true)
		i.failed <- err
	}
}

// setCut tells the gateway first: it must not send those back who are sent away.
func (i *Instance) setCut(cut bool) {
	i.registration.SetCut(cut)
	i.server.SetCut(i.life, cut)
}

// Failed gives an error when the server cannot go on: it holds no sessions then, and should be ended with Drain.
func (i *Instance) Failed() <-chan error { return i.failed }

// endWatching is what an end begins with: that the connection to NATS closes is no failure from here on.
func (i *Instance) endWatching() {
	i.endLife()
	i.watching.Wait()
}

// agree has etcd say that the server may be one of the others: with their key, and under a name that is free.
func (i *Instance) agree(ctx context.Context, o InstanceOptions) error {
	ctx, cancel := context.WithTimeout(ctx, o.StartTimeout)
	defer cancel()
	if o.KeyFingerprint != "" {
		if err := registry.AgreeOnKey(ctx, i.etcd, o.KeyFingerprint); err != nil {
			return disagreed(ctx, err, o)
		}
	}
	if o.ID == "" {
		return nil
	}
	if err := registry.Free(ctx, i.etcd, o.ID); err != nil {
		return unregistered(err, o)
	}
	return nil
}

// onHealth is told how the cluster's node is. Degraded, it answers what it knows, and says of others that it does not.
func (i *Instance) onHealth(health cluster.Health, _ error) {
	if health == cluster.Lost {
		i.loss.Do(func() { close(i.lost) })
	}
}

// joinCluster waits for a NATS that is not there yet.
func (i *Instance) joinCluster(ctx context.Context, o InstanceOptions) (*cluster.Node, error) {
	ctx, cancel := context.WithTimeout(ctx, o.StartTimeout)
	defer cancel()
	for waiting := false; ; waiting = true {
		node, err := cluster.New(ctx, cluster.Options{
			Cluster: clusterName, NodeID: i.ID, Servers: o.NATS, TLS: o.NATSTLS, Logger: o.Logger, OnHealth: i.onHealth,
			// A login that NATS refuses is tried again for ever: its accounts may be on their way back, too.
			NATS: append(slices.Clone(o.NATSOptions), nats.IgnoreAuthErrorAbort()),
		})
		if err == nil || !passes(err) {
			return node, err
		}
		if !waiting {
			o.Logger.Warn("NATS does not answer, waiting for it", "error", err)
		}
		if !wait.Pause(ctx, retryNATS) {
			return nil, unreachable("NATS", o.NATS, ctx.Err())
		}
	}
}

// perAddress is the bound of one address's sessions, 0 for none.
func (o *InstanceOptions) perAddress() int {
	if o.MaxPerAddress == 0 {
		return max(o.Capacity/10, 1)
	}
	return max(o.MaxPerAddress, 0)
}

// passes reports whether an error of the first connection is one of a NATS that is starting or busy.
func passes(err error) bool {
	var network *net.OpError
	return errors.As(err, &network) || errors.Is(err, nats.ErrNoServers) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, io.EOF)
}

// serve starts the server, once it can store messages.
func (i *Instance) serve(ctx context.Context, o InstanceOptions) error {
	byDefault(&o.History.Logger, o.Logger)
	stored, err := history.Open(ctx, i.Node.Conn(), o.History)
	if err != nil {
		return err
	}
	byDefault(&o.Quotas.Span, stored.MaxAge()) // not what was asked for: the store may keep them for longer
	i.server, err = Start(Options{
		Cluster: i.Node, History: stored, Tokens: o.Tokens, NextID: i.ids.Next,
		Quotas: quota.New(stored.Senders(), o.Quotas),
		Listen: o.Listen, ListenWebSocket: o.ListenWebSocket, Origins: o.Origins,
		MaxSessions: 2 * o.Capacity, MaxSessionsPerIP: o.perAddress(), MessageRate: o.MessageRate, LoginRate: o.LoginRate,
		LoginTimeout: o.LoginTimeout, TLS: o.TLS, Logger: o.Logger,
	})
	return err
}

// register waits until the server is in the registry.
func (i *Instance) register(ctx context.Context, o InstanceOptions) error {
	i.Addr = cmp.Or(o.Advertise, i.server.Addr())
	i.WebSocket = cmp.Or(o.AdvertiseWebSocket, i.server.WebSocketURL())
	i.registration = registry.Register(i.etcd, registry.Options{
		Server: registry.Server{ID: i.ID, Addr: i.Addr, WebSocket: i.WebSocket, Capacity: o.Capacity},
		Load:   i.server.Load,
		Logger: o.Logger,
	})
	ctx, cancel := context.WithTimeout(ctx, o.StartTimeout)
	defer cancel()
	select {
	case <-i.registration.Registered():
		return nil
	case <-ctx.Done():
		return unregistered(cmp.Or(i.registration.Err(), ctx.Err()), o)
	}
}

// unregistered says why a server is not in the registry.
func unregistered(cause error, o InstanceOptions) error {
	if errors.Is(cause, registry.ErrTaken) {
		return cause
	}
	return unreachable("etcd", o.Etcd, cause)
}

// disagreed says why the key could not be agreed on.
func disagreed(ctx context.Context, cause error, o InstanceOptions) error {
	if ctx.Err() == nil {
		return cause
	}
	return unreachable("etcd", o.Etcd, cause)
}

func unreachable(engine string, at []string, cause error) error {
	return fmt.Errorf("%s at %s does not answer, is it running? %w", engine, strings.Join(withoutSecrets(at), ","), cause)
}

// withoutSecrets is what a log may have of addresses: without the passwords and tokens in them.
func withoutSecrets(addresses []string) (hosts []string) {
	for _, address := range addresses {
		hosts = append(hosts, address[strings.LastIndex(address, "@")+1:])
	}
	return hosts
}

// Load is how many sessions are open.
func (i *Instance) Load() int { return i.server.Load() }

// Drain ends the server so that nobody loses anything: first the gateway sends nobody here any more, then its clients
// are sent elsewhere, with everything that was acknowledged.
func (i *Instance) Drain(ctx context.Context) error {
	var errs []error
	i.end.Do(func() {
		i.endWatching()
		announcing, cancel := context.WithTimeout(ctx, announceTimeout)
		announced := i.registration.Drain(announcing) == nil
		cancel()
		errs = append(errs, i.Node.Drain(ctx), i.server.Drain(ctx))
		if announced {
			_ = i.registration.Close(ctx) // what fails here ends with its lease
			_ = i.ids.Close(ctx)
		} else { // without etcd the gateway cannot be told, and its clients find out by themselves
			i.registration.Abandon()
			i.ids.Abandon()
		}
		errs = append(errs, i.Node.Close(), i.etcd.Close())
	})
	return errors.Join(errs...)
}

// Kill ends the server as a crash does: nobody is told anything, and whoever relies on it has to notice.
func (i *Instance) Kill() {
	i.end.Do(func() {
		i.endWatching()
		if i.registration != nil {
			i.registration.Abandon()
		}
		if i.Node != nil {
			i.Node.Conn().Close() // before it could announce its end on it
		}
		if i.server != nil {
			i.server.Kill()
		}
		if i.ids != nil {
			i.ids.Abandon()
		}
		if i.Node != nil {
			_ = i.Node.Close()
		}
		if i.etcd != nil {
			_ = i.etcd.Close()
		}
	})
}
