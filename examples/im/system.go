package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/embedded"
	"github.com/libnet-go/libnet/examples/im/internal/token"
)

// systemOptions say what runs in this process.
type systemOptions struct {
	etcd, nats []string // empty: embedded ones, in a temporary folder
	servers    int      // access servers
	gateway    string   // address
	page       string   // address; empty: no page
	legacySalt string
	log        *slog.Logger
}

// system is a whole messenger in this process.
type system struct {
	o       systemOptions
	dir     string         // temporary
	etcd    *embedded.Etcd // nil: external
	nats    *embedded.NATS // nil: external
	tokens  *token.Tokens
	keyFile string
	gateway *gatewayServer

	// mu guards the following.
	mu      sync.Mutex
	servers []*accessServer // those that run, in the order of their ids
	started int             // how many were ever started: part of their names
}

func startSystem(ctx context.Context, o systemOptions) (_ *system, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	s := &system{o: o}
	defer func() {
		if err != nil {
			s.stop(ctx)
		}
	}()
	if s.dir, err = os.MkdirTemp("", "im-"); err != nil {
		return nil, err
	}
	key := token.NewKey()
	s.keyFile = filepath.Join(s.dir, "key")
	if err = writeKey(s.keyFile, key); err != nil {
		return nil, err
	}
	if s.tokens, err = token.New(key, o.legacySalt); err != nil {
		return nil, err
	}
	if err = s.startEngines(ctx); err != nil {
		return nil, err
	}
	// The parts wait for each other by themselves, as they do when each is a process.
	var starting sync.WaitGroup
	errs := make([]error, o.servers+1)
	for i := range o.servers {
		starting.Go(func() { _, errs[i] = s.startServer(ctx) })
	}
	starting.Go(func() {
		s.gateway, errs[o.servers] = startGateway(ctx, gatewayOptions{
			etcd: s.o.etcd, listen: o.gateway, page: o.page, demoTokens: s.demoToken, log: o.log,
		})
	})
	starting.Wait()
	if err = errors.Join(errs...); err != nil {
		return nil, err
	}
	return s, s.awaitKnown(ctx)
}

// awaitKnown waits until the gateway knows of all access servers that run here.
func (s *system) awaitKnown(ctx context.Context) error {
	for _, server := range s.running() {
		for {
			if _, ok := s.gateway.watcher.Snapshot().Get(server.id); ok {
				break
			}
			if !pause(ctx, time.Millisecond) {
				return fmt.Errorf("the gateway does not know %s: %w", server.id, ctx.Err())
			}
		}
	}
	return nil
}

// startEngines starts etcd and NATS, those that are not given.
func (s *system) startEngines(ctx context.Context) error {
	var starting sync.WaitGroup
	var etcdErr, natsErr error
	if len(s.o.etcd) == 0 {
		starting.Go(func() {
			if s.etcd, etcdErr = embedded.StartEtcd(ctx, filepath.Join(s.dir, "etcd")); etcdErr == nil {
				s.o.etcd = []string{s.etcd.Endpoint()}
			}
		})
	}
	if len(s.o.nats) == 0 {
		starting.Go(func() {
			if s.nats, natsErr = embedded.StartNATS(ctx, filepath.Join(s.dir, "nats")); natsErr == nil {
				s.o.nats = []string{s.nats.URL()}
			}
		})
	}
	starting.Wait()
	return errors.Join(etcdErr, natsErr)
}

// startServer adds an access server.
func (s *system) startServer(ctx context.Context) (*accessServer, error) {
	s.mu.Lock()
	s.started++
	id := fmt.Sprintf("access-%d", s.started)
	s.mu.Unlock()
	if s.etcd == nil {
		id = "" // others may run on the same etcd
	}
	server, err := startAccess(ctx, accessOptions{
		id: id, etcd: s.o.etcd, nats: s.o.nats, tokens: s.tokens, capacity: 10_000,
		listen: "127.0.0.1:0", listenWebSocket: "127.0.0.1:0",
		origins: []string{"127.0.0.1:*", "localhost:*"}, log: s.o.log,
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.servers = append(s.servers, server)
	slices.SortFunc(s.servers, func(a, b *accessServer) int { return cmp.Compare(a.id, b.id) })
	return server, nil
}

// running returns the access servers that run.
func (s *system) running() []*accessServer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.servers)
}

// take returns the first access server, whose end is the caller's business from then on.
func (s *system) take() *accessServer {
	s.mu.Lock()
	defer s.mu.Unlock()
	server := s.servers[0]
	s.servers = s.servers[1:]
	return server
}

// demoToken lets everybody in: this is one machine's, and for trying.
func (s *system) demoToken(user int64) (string, error) { return s.tokens.Issue(user, tokenLife), nil }

// stop ends everything and removes what it left on the disk. What access servers have acknowledged they
// deliver, for as long as ctx allows.
func (s *system) stop(ctx context.Context) {
	if s.gateway != nil {
		s.gateway.stop(ctx)
	}
	var stopping sync.WaitGroup
	s.mu.Lock()
	for _, server := range s.servers {
		stopping.Go(func() {
			if err := server.drain(ctx); err != nil {
				s.o.log.Info("an access server was cut off", "server", server.id, "error", err)
			}
		})
	}
	s.servers = nil
	s.mu.Unlock()
	stopping.Wait()
	if s.nats != nil {
		s.nats.Stop()
	}
	if s.etcd != nil {
		s.etcd.Stop()
	}
	if s.dir != "" {
		if err := os.RemoveAll(s.dir); err != nil {
			s.o.log.Warn("the temporary folder stays", "error", err)
		}
	}
}
