// Package system runs a whole messenger in one process: a gateway, access servers, and etcd and NATS unless they are
// given.
//
//	s, err := system.Start(ctx, system.Options{Servers: 2})
//	defer s.Stop(ctx)
//	... s.Gateway.Addr(), s.Tokens.Issue(1, time.Hour) ...
package system

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/libnet-go/libnet/examples/im/internal/access"
	"github.com/libnet-go/libnet/examples/im/internal/embedded"
	"github.com/libnet-go/libnet/examples/im/internal/gateway"
	"github.com/libnet-go/libnet/examples/im/internal/registry"
	"github.com/libnet-go/libnet/examples/im/internal/token"
	"github.com/libnet-go/libnet/examples/im/internal/wait"
)

const (
	// startTimeout bounds Start and StartServer.
	startTimeout = 30 * time.Second
	// capacity is how many sessions each access server is made for.
	capacity = 10_000
)

// Options say what runs.
type Options struct {
	Etcd, NATS  []string        // default embedded ones, in a temporary folder
	EtcdAccess  registry.Access // as in access.InstanceOptions, as the next two
	NATSTLS     *tls.Config
	NATSOptions []nats.Option
	Servers     int    // access servers
	Gateway     string // address
	Page        string // address; default no page
	LegacySalt  string // as in token.New
	KeyFile     string // with the key of the access servers that there are; default a new key
	Logger      *slog.Logger
}

// A System is a messenger that runs. Its methods may be called by any goroutine.
type System struct {
	// Immutable after Start.
	Gateway *gateway.Instance
	Tokens  *token.Tokens
	KeyFile string         // holds the key of Tokens
	Etcd    *embedded.Etcd // nil: external

	o    Options // with the addresses of the embedded etcd and NATS
	dir  string  // temporary
	nats *embedded.NATS

	// mu guards the following.
	mu      sync.Mutex
	servers []*access.Instance // those that run, in the order of their ids
	started int                // how many were ever started: part of their names
}

// Start returns when the gateway knows of all access servers.
func Start(ctx context.Context, o Options) (_ *System, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	s := &System{o: o}
	defer func() {
		if err != nil {
			s.Stop(ctx)
		}
	}()
	if s.dir, err = os.MkdirTemp("", "im-"); err != nil {
		return nil, err
	}
	if err = s.makeKey(); err != nil {
		return nil, err
	}
	if err = s.startEngines(ctx); err != nil {
		return nil, err
	}
	if err = s.startParts(ctx); err != nil {
		return nil, err
	}
	return s, s.AwaitKnown(ctx)
}

func (s *System) makeKey() (err error) {
	var key []byte
	if s.KeyFile = s.o.KeyFile; s.KeyFile == "" {
		key, s.KeyFile = token.NewKey(), filepath.Join(s.dir, "key")
		err = token.WriteKeyFile(s.KeyFile, key)
	} else {
		key, err = token.ReadKeyFile(s.KeyFile)
	}
	if err != nil {
		return err
	}
	s.Tokens, err = token.New(key, s.o.LegacySalt)
	return err
}

// startEngines starts etcd and NATS, those that are not given.
func (s *System) startEngines(ctx context.Context) error {
	var starting sync.WaitGroup
	var etcdErr, natsErr error
	if len(s.o.Etcd) == 0 {
		starting.Go(func() {
			if s.Etcd, etcdErr = embedded.StartEtcd(ctx, filepath.Join(s.dir, "etcd")); etcdErr == nil {
				s.o.Etcd = []string{s.Etcd.Endpoint()}
			}
		})
	}
	if len(s.o.NATS) == 0 {
		starting.Go(func() {
			if s.nats, natsErr = embedded.StartNATS(ctx, filepath.Join(s.dir, "nats")); natsErr == nil {
				s.o.NATS = []string{s.nats.URL()}
			}
		})
	}
	starting.Wait()
	return errors.Join(etcdErr, natsErr)
}

// startParts starts the gateway and the access servers. They wait for each other by themselves, as they do when each is
// a process.
func (s *System) startParts(ctx context.Context) error {
	var starting sync.WaitGroup
	errs := make([]error, s.o.Servers+1)
	for i := range s.o.Servers {
		starting.Go(func() { _, errs[i] = s.StartServer(ctx) })
	}
	starting.Go(func() {
		s.Gateway, errs[s.o.Servers] = gateway.StartInstance(ctx, gateway.InstanceOptions{
			Etcd: s.o.Etcd, EtcdAccess: s.o.EtcdAccess, MaxPerAddress: -1, Listen: s.o.Gateway, Page: s.o.Page, DemoTokens: s.demoToken, Logger: s.o.Logger,
		})
	})
	starting.Wait()
	return errors.Join(errs...)
}

// demoToken lets everybody in: this is one machine's, and for trying.
func (s *System) demoToken(user int64) (string, error) {
	return s.Tokens.Issue(user, token.TrialLife), nil
}

// EtcdEndpoints and NATSURLs say where etcd and NATS are.
func (s *System) EtcdEndpoints() []string { return s.o.Etcd }
func (s *System) NATSURLs() []string      { return s.o.NATS }

// AwaitKnown waits until the gateway knows of all access servers that run here.
func (s *System) AwaitKnown(ctx context.Context) error {
	for _, server := range s.Running() {
		for {
			if _, ok := s.Gateway.Servers().Get(server.ID); ok {
				break
			}
			if !wait.Pause(ctx, time.Millisecond) {
				return fmt.Errorf("the gateway does not know %s: %w", server.ID, ctx.Err())
			}
		}
	}
	return nil
}

// StartServer adds an access server.
func (s *System) StartServer(ctx context.Context) (*access.Instance, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	server, err := access.StartInstance(ctx, access.InstanceOptions{
		ID: s.nextID(), Etcd: s.o.Etcd, NATS: s.o.NATS, Tokens: s.Tokens, KeyFingerprint: s.Tokens.Fingerprint(), Capacity: capacity,
		EtcdAccess: s.o.EtcdAccess, NATSTLS: s.o.NATSTLS, NATSOptions: s.o.NATSOptions,
		MaxPerAddress: -1, // all are on one machine
		Origins:       []string{"127.0.0.1:*", "localhost:*"}, Logger: s.o.Logger,
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.servers = append(s.servers, server)
	slices.SortFunc(s.servers, func(a, b *access.Instance) int { return cmp.Compare(a.ID, b.ID) })
	return server, nil
}

// nextID names an access server, or leaves it to the server when others may run on the same etcd.
func (s *System) nextID() string {
	if s.Etcd == nil {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started++
	return fmt.Sprintf("access-%d", s.started)
}

// Running returns the access servers that run.
func (s *System) Running() []*access.Instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.servers)
}

// Remove returns the first access server, which the caller has to end. There must be one.
func (s *System) Remove() *access.Instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	server := s.servers[0]
	s.servers = s.servers[1:]
	return server
}

// Stop ends everything and removes what it left on the disk. What access servers have acknowledged they deliver, for as
// long as ctx allows.
func (s *System) Stop(ctx context.Context) {
	if s.Gateway != nil {
		s.Gateway.Stop(ctx)
	}
	s.drainServers(ctx)
	if s.nats != nil {
		s.nats.Stop()
	}
	if s.Etcd != nil {
		s.Etcd.Stop()
	}
	if s.dir != "" {
		if err := os.RemoveAll(s.dir); err != nil {
			s.o.Logger.Warn("the temporary folder stays", "error", err)
		}
	}
}

func (s *System) drainServers(ctx context.Context) {
	s.mu.Lock()
	servers := s.servers
	s.servers = nil
	s.mu.Unlock()
	var stopping sync.WaitGroup
	for _, server := range servers {
		stopping.Go(func() {
			if err := server.Drain(ctx); err != nil {
				s.o.Logger.Info("an access server was cut off", "server", server.ID, "error", err)
			}
		})
	}
	stopping.Wait()
}
