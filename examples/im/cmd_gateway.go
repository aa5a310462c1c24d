package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/libnet-go/libnet/examples/im/internal/gateway"
)

func runGateway(ctx context.Context, args []string, std std) error {
	o, serving, err := parseGateway(args, std)
	if err != nil {
		return err
	}
	ops, err := serving.listenOps()
	if err != nil {
		return err
	}
	defer ops.close()

	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	g, err := gateway.StartInstance(starting, o)
	if err != nil {
		return err
	}
	defer ops.serve(std.out, g.Libnet(), g.Ready, g.Gauges())()
	fmt.Fprintf(std.out, "gateway: clients at %s, %d access servers\n", g.Addr(), g.Servers().Len())
	if g.PageURL() != "" {
		fmt.Fprintf(std.out, "gateway: the page is at %s\n", g.PageURL())
	}
	<-ctx.Done()
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	g.Stop(stopping)
	return nil
}

func parseGateway(args []string, std std) (o gateway.InstanceOptions, serving serveFlags, err error) {
	flags := newFlags("gateway", std)
	flags.withEtcd("")
	flags.withServing("1000")
	flags.StringVar(&o.Listen, "listen", "127.0.0.1:0", "`address` for clients")
	flags.StringVar(&o.Page, "page", "", "serve the page for browsers at this `address`, too")
	hosts := flags.String("page-hosts", "", "`names` under which browsers may ask for the page, with commas between them; default those of this machine alone")
	connect := flags.String("page-connect", "", "`sources` to which the page may connect, such as wss://*.example.com; default those of this machine alone")
	if err := flags.parse(args); err != nil {
		return o, serving, err
	}
	if flags.etcdFlags.at == "" {
		return o, serving, errors.New("a gateway needs -etcd")
	}
	o.Etcd, o.PageHosts, o.PageConnect, o.Logger = flags.etcdFlags.endpoints(), list(*hosts), list(*connect), flags.logger()
	o.MaxPerAddress = flags.serveFlags.maxPerAddress
	if o.EtcdAccess, err = flags.etcdFlags.access(); err != nil {
		return o, serving, err
	}
	if o.TLS, err = flags.serveFlags.tls(); err != nil {
		return o, serving, err
	}
	return o, flags.serveFlags, nil
}
