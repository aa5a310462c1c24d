package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/libnet-go/libnet/examples/im/internal/page"
	"github.com/libnet-go/libnet/examples/im/internal/pick"
	"github.com/libnet-go/libnet/examples/im/internal/registry"
)

// InstanceOptions is what an instance is started with. Etcd is required; of the others zero means the default.
type InstanceOptions struct {
	Etcd                   []string
	EtcdAccess             registry.Access                  // what etcd asks for
	Listen                 string                           // as in Options
	Page                   string                           // the page's address; default no page
	PageHosts, PageConnect []string                         // as in page.Options
	DemoTokens             func(user int64) (string, error) // as in page.Options
	TLS                    *tls.Config                      // for clients and the page; nil: no TLS
	MaxPerAddress          int                              // connections from one IPv4 address, or IPv6 /64; default 1,000, negative: no bound
	Logger                 *slog.Logger
}

// An Instance is a Server with everything that it stands on: its connection to etcd, the list of access servers that
// is kept up from there, and the page.
type Instance struct {
	// Immutable after StartInstance.
	etcd    *clientv3.Client
	watcher *registry.Watcher
	picker  *pick.Picker
	server  *Server
	page    *page.Server // nil: none

	picked, unpicked atomic.Int64 // answers with an access server, and without
}

// StartInstance returns when the gateway has a list of access servers, which may be empty. It waits for etcd as long as
// ctx lasts.
func StartInstance(ctx context.Context, o InstanceOptions) (_ *Instance, err error) {
	byDefault(&o.Logger, slog.Default())
	byDefault(&o.MaxPerAddress, 1000)
	i := &Instance{}
	defer func() {
		if err != nil {
			i.Stop(ctx)
		}
	}()
	if i.etcd, err = registry.ConnectAs(o.EtcdAccess, o.Etcd...); err != nil {
		return nil, err
	}
	i.watcher = registry.Watch(i.etcd, registry.WatchOptions{Logger: o.Logger})
	i.picker = pick.New(i.watcher.Snapshot)
	select {
	case <-i.watcher.Ready():
	case <-ctx.Done():
		return nil, fmt.Errorf("etcd at %s does not answer, is it running? %w", strings.Join(o.Etcd, ","), ctx.Err())
	}
	if i.server, err = Start(Options{
		Pick: i.pick, Listen: o.Listen, MaxSessionsPerIP: max(o.MaxPerAddress, 0), TLS: o.TLS, Logger: o.Logger,
	}); err != nil {
		return nil, err
	}
	if o.Page != "" {
		if err = i.servePage(o); err != nil {
			return nil, err
		}
	}
	return i, nil
}

// servePage serves the page. Its browsers are sent to access servers as other clients are, among those that take
// WebSockets.
func (i *Instance) servePage(o InstanceOptions) error {
	l, err := net.Listen("tcp", o.Page)
	if err != nil {
		return err
	}
	i.page = page.Serve(l, page.Options{
		Pick: i.pickWebSocket, DemoTokens: o.DemoTokens,
		Hosts: o.PageHosts, Connect: o.PageConnect, TLS: o.TLS, MaxPerAddress: max(o.MaxPerAddress, 0), Logger: o.Logger,
	})
	return nil
}

// pick counts those that found no server.
func (i *Instance) pick(suits func(registry.Server) bool) (registry.Server, bool) {
	server, ok := i.picker.Pick(suits)
	if ok {
		i.picked.Add(1)
	} else {
		i.unpicked.Add(1)
	}
	return server, ok
}

func (i *Instance) pickWebSocket(context.Context) (string, error) {
	server, ok := i.pick(func(s registry.Server) bool { return s.WebSocket != "" })
	if !ok {
		return "", errors.New("no access server for browsers")
	}
	return server.WebSocket, nil
}

// Addr is where clients connect, "host:port".
func (i *Instance) Addr() string { return i.server.Addr() }

// PageURL is where a browser finds the page, "" when there is none.
func (i *Instance) PageURL() string {
	if i.page == nil {
		return ""
	}
	return i.page.URL
}

// Servers are the access servers that the gateway knows.
func (i *Instance) Servers() *registry.Snapshot { return i.watcher.Snapshot() }

// Stop delivers the answers that are under way, for as long as ctx allows, and ends everything.
func (i *Instance) Stop(ctx context.Context) {
	if i.page != nil {
		i.page.Shutdown(ctx)
	}
	if i.server != nil {
		_ = i.server.Shutdown(ctx) // what it could not deliver, clients ask for again
	}
	if i.watcher != nil {
		i.watcher.Close()
	}
	if i.etcd != nil {
		_ = i.etcd.Close()
	}
}
