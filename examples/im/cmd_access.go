package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/access"
	"github.com/libnet-go/libnet/examples/im/internal/registry"
)

func runAccess(ctx context.Context, args []string, std std) error {
	o, serving, err := parseAccess(args, std)
	if err != nil {
		return err
	}
	ops, err := serving.listenOps()
	if err != nil {
		return err
	}
	defer ops.close()
	server, err := access.StartInstance(ctx, o)
	switch {
	case errors.Is(err, registry.ErrTaken):
		return fmt.Errorf("%w: choose another -id", err)
	case errors.Is(err, registry.ErrOtherKey):
		return fmt.Errorf("%w: copy the -key-file from one of them; im key -replace changes the key of all", err)
	case err != nil:
		return err
	}
	defer ops.serve(std.out, server.Libnet(), server.Ready, server.Gauges())()
	fmt.Fprintf(std.out, "access server %s: clients at %s, browsers at %s\n", server.ID, server.Addr, server.WebSocket)
	var failure error
	select {
	case <-ctx.Done():
		fmt.Fprintf(std.out, "access server %s: draining %d sessions\n", server.ID, server.Load())
	case failure = <-server.Failed():
		failure = fmt.Errorf("access server %s ends: %w", server.ID, failure)
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := server.Drain(stopping); failure == nil {
		return err
	}
	return failure
}

func parseAccess(args []string, std std) (o access.InstanceOptions, serving serveFlags, err error) {
	flags := newFlags("access", std)
	flags.withEtcd("")
	flags.withNATS("")
	flags.withServing("a tenth of -capacity")
	flags.StringVar(&o.ID, "id", "", "a `name` that no other access server has; default random")
	flags.StringVar(&o.Listen, "listen", "127.0.0.1:0", "`address` for clients over TCP")
	flags.StringVar(&o.ListenWebSocket, "listen-websocket", "127.0.0.1:0", "`address` for browsers")
	flags.StringVar(&o.Advertise, "advertise", "", "`host:port` at which clients reach -listen; default the address itself")
	flags.StringVar(&o.AdvertiseWebSocket, "advertise-websocket", "", "`URL` at which browsers reach -listen-websocket, such as wss://im.example.com/ws")
	flags.IntVar(&o.Capacity, "capacity", 10_000, "how many sessions it is made for: its weight in the gateway's choice, and twice that the most it takes")
	flags.DurationVar(&o.LoginTimeout, "login-timeout", 10*time.Second, "how long a connection may take until it has logged in")
	flags.IntVar(&o.MessageRate, "rate", 500, "how many messages a second a session may send; one that sends more waits; 0: any number")
	flags.Float64Var(&o.LoginRate, "login-rate", 100, "how many logins a second one IPv4 address, or IPv6 /64, may try, ten times as many at once; 0: any number")
	flags.DurationVar(&o.CutAfter, "cut-after", 3*time.Second, "how long NATS may be silent before users are sent to other servers; below 0: for ever")
	origins := flags.String("origins", "127.0.0.1:*,localhost:*", "`hosts` of the pages that may connect, with commas between them")
	keyFile := flags.String("key-file", "", "`file` with the key that all access servers share; im key -new makes one")
	legacySalt := flags.String("legacy-salt", "", "accept the tokens of old clients, too, made with this `salt`; better not as an argument")
	legacySaltFile := flags.String("legacy-salt-file", "", "`file` with that salt; default the environment's IM_LEGACY_SALT")
	withStore(flags, &o)
	if err := flags.parse(args); err != nil {
		return o, serving, err
	}
	if flags.etcdFlags.at == "" || flags.natsFlags.at == "" {
		return o, serving, errors.New("an access server needs -etcd and -nats")
	}
	salt, err := flags.legacySalt(*legacySalt, *legacySaltFile)
	if err != nil {
		return o, serving, err
	}
	tokens, err := readTokens(*keyFile, salt)
	if err != nil {
		return o, serving, err
	}
	o.Tokens, o.KeyFingerprint = tokens, tokens.Fingerprint()
	o.Origins, o.MaxPerAddress, o.Logger = list(*origins), flags.serveFlags.maxPerAddress, flags.logger()
	if o.TLS, err = flags.serveFlags.tls(); err != nil {
		return o, serving, err
	}
	if err := flags.engines(&o); err != nil {
		return o, serving, err
	}
	return o, flags.serveFlags, checkAccess(o)
}

// engines fills in how etcd and NATS are reached.
func (f *flags) engines(o *access.InstanceOptions) (err error) {
	o.Etcd, o.NATS = f.etcdFlags.endpoints(), f.natsFlags.urls()
	if o.EtcdAccess, err = f.etcdFlags.access(); err != nil {
		return err
	}
	if o.NATSTLS, err = f.natsFlags.tls(); err != nil {
		return err
	}
	if f.natsFlags.tellsAll() {
		f.warnOfArgument("-nats", "-nats-user and -nats-password-file, or -nats-creds")
	}
	o.NATSOptions, err = f.natsFlags.options()
	return err
}

// legacySalt takes the salt from wherever it was given.
func (f *flags) legacySalt(argument, file string) (string, error) {
	if argument != "" {
		f.warnOfArgument("-legacy-salt", "-legacy-salt-file")
		return argument, nil
	}
	return secret(file, "IM_LEGACY_SALT")
}
