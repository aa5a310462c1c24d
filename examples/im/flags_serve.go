package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/examples/im/internal/tlsfiles"
	"github.com/libnet-go/libnet/monitor"
)

// serveFlags are those of a part that clients connect to.
type serveFlags struct {
	cert, key     string
	maxPerAddress int

	ops, opsHosts, opsUser, opsPasswordFile string
}

func (f *flags) withServing(perAddressByDefault string) {
	s := &f.serveFlags
	f.StringVar(&s.cert, "tls-cert", "", "`file` with the certificate to show to clients: they are spoken to over TLS")
	f.StringVar(&s.key, "tls-key", "", "`file` with that certificate's key")
	f.IntVar(&s.maxPerAddress, "max-per-address", 0, "how many connections one IPv4 address, or IPv6 /64, may have open; default "+perAddressByDefault+"; below 0: any number")
	f.StringVar(&s.ops, "ops", "", "`address` for operators: /healthz, /readyz, /metrics and a page")
	f.StringVar(&s.opsHosts, "ops-hosts", "", "`names` by which operators may ask for -ops besides its address, with commas between them")
	f.StringVar(&s.opsUser, "ops-user", "ops", "`user` for -ops, once it has a password")
	f.StringVar(&s.opsPasswordFile, "ops-password-file", "", "`file` with a password for -ops; needed unless its address is this machine's own; default the environment's IM_OPS_PASSWORD")
}

// tls is nil without a certificate.
func (s serveFlags) tls() (*tls.Config, error) {
	if s.cert == "" && s.key == "" {
		return nil, nil
	}
	config, err := tlsfiles.Server(s.cert, s.key)
	if err != nil {
		return nil, fmt.Errorf("-tls-cert and -tls-key: %w", err)
	}
	return config, nil
}

// An ops is what operators look at, before there is something to see.
type ops struct {
	listener net.Listener // nil: none
	options  monitor.Options
}

// listenOps finds early what would not work.
func (s serveFlags) listenOps() (o ops, err error) {
	if s.ops == "" {
		return o, nil
	}
	password, err := secret(s.opsPasswordFile, "IM_OPS_PASSWORD")
	if err != nil {
		return o, err
	}
	o.options.Hosts = list(s.opsHosts)
	if password != "" {
		o.options.Authorize = monitor.BasicAuth(s.opsUser, password)
	} else if at, err := net.ResolveTCPAddr("tcp", s.ops); err == nil && !at.IP.IsLoopback() {
		return o, fmt.Errorf("-ops %s: others could reach it: use a loopback address, or give it a password with -ops-password-file", s.ops)
	}
	if o.listener, err = o.options.Listen(s.ops); err != nil {
		return o, fmt.Errorf("-ops %s: %w", s.ops, err)
	}
	return o, nil
}

// serve shows a server until stop is called, which waits for the end.
func (o ops) serve(out io.Writer, server *libnet.Server, ready func() bool, gauges []monitor.Gauge) (stop func()) {
	if o.listener == nil {
		return func() {}
	}
	o.options.Ready, o.options.Gauges = ready, gauges
	fmt.Fprintf(out, "operators at http://%s/\n", o.listener.Addr())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := o.options.Serve(ctx, o.listener, server); err != nil && !errors.Is(err, context.Canceled) {
			fmt.Fprintln(out, "operators are no longer served:", err)
		}
	}()
	return func() { cancel(); <-done }
}

// close is for a start that failed.
func (o ops) close() {
	if o.listener != nil {
		_ = o.listener.Close()
	}
}
