package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/libnet-go/libnet/examples/im/internal/access"
	"github.com/libnet-go/libnet/examples/im/internal/registry"
)

func runAccess(ctx context.Context, args []string, std std) error {
	o, err := parseAccess(args, std)
	if err != nil {
		return err
	}
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	server, err := access.StartInstance(starting, o)
	if errors.Is(err, registry.ErrTaken) {
		return fmt.Errorf("%w: choose another -id", err)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(std.out, "access server %s: clients at %s, browsers at %s\n", server.ID, server.Addr, server.WebSocket)
	<-ctx.Done()
	fmt.Fprintf(std.out, "access server %s: draining %d sessions\n", server.ID, server.Load())
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	return server.Drain(stopping)
}

func parseAccess(args []string, std std) (o access.InstanceOptions, err error) {
	flags := newFlags("access", std)
	flags.withEtcd("")
	flags.withNATS("")
	flags.StringVar(&o.ID, "id", "", "a `name` that no other access server has; default random")
	flags.StringVar(&o.Listen, "listen", "127.0.0.1:0", "`address` for clients over TCP")
	flags.StringVar(&o.ListenWebSocket, "listen-websocket", "127.0.0.1:0", "`address` for browsers")
	flags.StringVar(&o.Advertise, "advertise", "", "`host:port` at which clients reach -listen; default the address itself")
	flags.StringVar(&o.AdvertiseWebSocket, "advertise-websocket", "", "`URL` at which browsers reach -listen-websocket, such as wss://im.example.com/ws")
	flags.IntVar(&o.Capacity, "capacity", 10_000, "how many sessions it is made for: its weight in the gateway's choice, and twice that the most it takes")
	origins := flags.String("origins", "127.0.0.1:*,localhost:*", "`hosts` of the pages that may connect, with commas between them")
	keyFile := flags.String("key-file", "", "`file` with the key that all access servers share; made when it is not there")
	legacySalt := flags.String("legacy-salt", "", "accept the tokens of old clients, too, made with this `salt`")
	if err := flags.parse(args); err != nil {
		return o, err
	}
	if flags.etcd == "" || flags.nats == "" {
		return o, errors.New("an access server needs -etcd and -nats")
	}
	if o.Tokens, err = readTokens(*keyFile, *legacySalt); err != nil {
		return o, err
	}
	o.Etcd, o.NATS, o.Origins, o.Logger = list(flags.etcd), list(flags.nats), list(*origins), flags.logger()
	return o, checkAccess(o)
}
