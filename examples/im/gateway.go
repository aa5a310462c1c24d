package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/libnet-go/libnet/examples/im/internal/gateway"
	"github.com/libnet-go/libnet/examples/im/internal/page"
	"github.com/libnet-go/libnet/examples/im/internal/pick"
	"github.com/libnet-go/libnet/examples/im/internal/registry"
)

func runGateway(ctx context.Context, args []string, std std) error {
	flags := newFlags("gateway", std)
	flags.withEtcd("")
	o := gatewayOptions{}
	flags.StringVar(&o.listen, "listen", "127.0.0.1:0", "`address` for clients")
	flags.StringVar(&o.page, "page", "", "serve the page for browsers at this `address`, too")
	hosts := flags.String("page-hosts", "", "`names` under which browsers may ask for the page, with commas between them; default those of this machine alone")
	connect := flags.String("page-connect", "", "`sources` to which the page may connect, such as wss://*.example.com; default those of this machine alone")
	if err := flags.parse(args); err != nil {
		return err
	}
	if flags.etcd == "" {
		return errors.New("a gateway needs -etcd")
	}
	o.etcd, o.pageHosts, o.pageConnect, o.log = list(flags.etcd), list(*hosts), list(*connect), flags.logger()

	g, err := startGateway(ctx, o)
	if err != nil {
		return err
	}
	fmt.Fprintf(std.out, "gateway: clients at %s, %d access servers\n", g.server.Addr(), g.watcher.Snapshot().Len())
	if g.pageURL != "" {
		fmt.Fprintf(std.out, "gateway: the page is at %s\n", g.pageURL)
	}
	<-ctx.Done()
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	g.stop(stopping)
	return nil
}

// gatewayOptions is what a gateway is started with.
type gatewayOptions struct {
	etcd                   []string
	listen                 string
	page                   string // empty: no page
	pageHosts, pageConnect []string
	demoTokens             func(user int64) (string, error) // nil: who uses the page needs a token
	log                    *slog.Logger
}

// gatewayServer is a gateway with what it stands on, and the page.
type gatewayServer struct {
	// Immutable after startGateway.
	etcd    *clientv3.Client
	watcher *registry.Watcher
	picker  *pick.Picker
	server  *gateway.Server
	page    *http.Server // nil: none
	pageURL string
	served  chan struct{} // servePage closes it at its end
}

// startGateway returns when the gateway has a list of access servers, which may be empty.
func startGateway(ctx context.Context, o gatewayOptions) (_ *gatewayServer, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	g := &gatewayServer{}
	defer func() {
		if err != nil {
			g.stop(ctx)
		}
	}()
	if g.etcd, err = registry.Connect(o.etcd...); err != nil {
		return nil, err
	}
	g.watcher = registry.Watch(g.etcd, registry.WatchOptions{Logger: o.log})
	g.picker = pick.New(g.watcher.Snapshot)
	select {
	case <-g.watcher.Ready():
	case <-ctx.Done():
		return nil, unreachable("etcd", o.etcd, ctx.Err())
	}
	if g.server, err = gateway.Start(gateway.Options{Pick: g.picker.Pick, Listen: o.listen, Logger: o.log}); err != nil {
		return nil, err
	}
	if o.page != "" {
		if err = g.servePage(o); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// servePage serves the page, whose browsers are picked for as other clients are, among the servers that
// take WebSockets.
func (g *gatewayServer) servePage(o gatewayOptions) error {
	l, err := net.Listen("tcp", o.page)
	if err != nil {
		return err
	}
	g.pageURL = pageURL(l.Addr().String(), o.pageHosts)
	g.page = &http.Server{
		Handler: page.Handler(page.Options{
			Pick: g.pickWebSocket, DemoTokens: o.demoTokens,
			Hosts: o.pageHosts, Connect: o.pageConnect, Logger: o.log,
		}),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		ErrorLog:          slog.NewLogLogger(o.log.Handler(), slog.LevelDebug), // browsers' faults
	}
	g.served = make(chan struct{})
	go func() {
		defer close(g.served)
		if err := g.page.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			o.log.Error("the page is no longer served", "error", err)
		}
	}()
	return nil
}

// pageURL is where a browser finds the page: under a name that the page answers to.
func pageURL(listening string, hosts []string) string {
	host, port, _ := net.SplitHostPort(listening)
	switch {
	case len(hosts) > 0:
		host = hosts[0]
	case unspecified(host):
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port) + "/"
}

func (g *gatewayServer) pickWebSocket(context.Context) (string, error) {
	server, ok := g.picker.Pick(func(s registry.Server) bool { return s.WebSocket != "" })
	if !ok {
		return "", errors.New("no access server for browsers")
	}
	return server.WebSocket, nil
}

// stop delivers the answers that are under way, for as long as ctx allows.
func (g *gatewayServer) stop(ctx context.Context) {
	if g.page != nil {
		if g.page.Shutdown(ctx) != nil {
			_ = g.page.Close()
		}
		<-g.served
	}
	if g.server != nil {
		_ = g.server.Shutdown(ctx) // what it could not deliver, clients ask for again
	}
	if g.watcher != nil {
		g.watcher.Close()
	}
	if g.etcd != nil {
		_ = g.etcd.Close()
	}
}
