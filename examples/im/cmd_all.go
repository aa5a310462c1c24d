package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/access"
	"github.com/libnet-go/libnet/examples/im/internal/demo"
	"github.com/libnet-go/libnet/examples/im/internal/system"
	"github.com/libnet-go/libnet/examples/im/internal/token"
)

// maxServers is more access servers than make sense in one process.
const maxServers = 100

func runAll(ctx context.Context, args []string, std std) error {
	flags := newFlags("all", std)
	flags.about = usage
	flags.withEtcd("; default one in this process")
	flags.withNATS("; default one in this process")
	o := system.Options{Servers: 2}
	flags.StringVar(&o.Gateway, "listen", "127.0.0.1:0", "the gateway's `address` for clients")
	flags.StringVar(&o.Page, "page", "127.0.0.1:0", "`address` of the page for browsers; \"\" for none")
	flags.IntVar(&o.Servers, "servers", o.Servers, "how many access servers")
	flags.StringVar(&o.LegacySalt, "legacy-salt", "", "accept the tokens of old clients, too, made with this `salt`")
	legacySaltFile := flags.String("legacy-salt-file", "", "`file` with that salt; default the environment's IM_LEGACY_SALT")
	flags.StringVar(&o.KeyFile, "key-file", "", "`file` with the key of the access servers at -etcd, with which it is needed; default a new key")
	demonstration := flags.Bool("demo", false, "put 300 users and some faults on it, say what came out, and end")
	if err := flags.parse(args); err != nil {
		return err
	}
	if o.Servers < 1 || o.Servers > maxServers {
		return fmt.Errorf("-servers %d: it takes at least one, and at most %d", o.Servers, maxServers)
	}
	o.Logger = flags.logger()
	if err := flags.external(&o, *legacySaltFile); err != nil {
		return err
	}
	if !*demonstration {
		if o.Etcd != nil && o.KeyFile == "" {
			return errors.New("-etcd may have access servers already: -key-file is missing, with their key; im key -new makes one")
		}
		if err := onThisMachine(o.Page); err != nil {
			return err
		}
		return serveAll(ctx, o, std)
	}
	if o.Etcd != nil || o.NATS != nil || o.KeyFile != "" {
		return errors.New("-demo makes things fail: it takes an etcd, a NATS and a key of its own, without -etcd, -nats and -key-file")
	}
	o.Page, o.Logger = "", demoLog(flags.verbose, std)
	return demo.Run(ctx, o, demo.Whole, std.out, std.err)
}

// external fills in what is not of this process.
func (f *flags) external(o *system.Options, legacySaltFile string) (err error) {
	var engines access.InstanceOptions
	if err := f.engines(&engines); err != nil {
		return err
	}
	o.Etcd, o.EtcdAccess = engines.Etcd, engines.EtcdAccess
	o.NATS, o.NATSTLS, o.NATSOptions = engines.NATS, engines.NATSTLS, engines.NATSOptions
	o.LegacySalt, err = f.legacySalt(o.LegacySalt, legacySaltFile)
	return err
}

// onThisMachine returns an error for a page that others could reach: it hands a token to everybody who opens it.
func onThisMachine(page string) error {
	if page == "" {
		return nil
	}
	address, err := net.ResolveTCPAddr("tcp", page)
	if err != nil {
		return fmt.Errorf("-page: %w", err)
	}
	if !address.IP.IsLoopback() {
		return fmt.Errorf("-page %s: this page lets everybody in who opens it, so it is for this machine only, such as 127.0.0.1:8080; "+
			"im gateway -page serves one to others, with tokens of their own", page)
	}
	return nil
}

// demoLog is silent unless -v is given: that servers complain of faults is no news here.
func demoLog(verbose bool, std std) *slog.Logger {
	if !verbose {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(std.err, nil))
}

// serveAll runs the whole system until ctx ends.
func serveAll(ctx context.Context, o system.Options, std std) error {
	began := time.Now()
	s, err := system.Start(ctx, o)
	if err != nil {
		return err
	}
	introduce(std.out, s, time.Since(began))
	failure := awaitEnd(ctx, s)
	fmt.Fprintln(std.out, "\nstopping")
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	s.Stop(stopping)
	return failure
}

// awaitEnd waits until ctx ends, which is no error, or one of the access servers cannot go on.
func awaitEnd(ctx context.Context, s *system.System) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var watching sync.WaitGroup
	defer watching.Wait()
	for _, server := range s.Running() {
		watching.Go(func() {
			select {
			case err := <-server.Failed():
				cancel(fmt.Errorf("access server %s cannot go on: %w", server.ID, err))
			case <-ctx.Done():
			}
		})
	}
	<-ctx.Done()
	if cause := context.Cause(ctx); errors.Is(cause, access.ErrClosedForGood) {
		return cause
	}
	return nil
}

// introduce prints what can be done now.
func introduce(w io.Writer, s *system.System, took time.Duration) {
	const command = "go run ./examples/im"
	gateway := s.Gateway.Addr()
	etcd, nats := strings.Join(s.EtcdEndpoints(), ","), strings.Join(s.NATSURLs(), ",")
	fmt.Fprintf(w, "Ready after %v; Ctrl-C ends it.\n\n", took.Round(10*time.Millisecond))
	if s.Gateway.PageURL() != "" {
		fmt.Fprintf(w, "  page     %s  (any name logs in; open it twice)\n", s.Gateway.PageURL())
	}
	fmt.Fprintf(w, "  gateway  %s\n", gateway)
	for _, server := range s.Running() {
		fmt.Fprintf(w, "  %s %s\n", server.ID, server.Addr)
	}
	fmt.Fprintf(w, "  etcd     %s\n  nats     %s\n\n", etcd, nats)
	fmt.Fprintln(w, "In other terminals, user 1 and user 2:")
	for user := int64(1); user <= 2; user++ {
		fmt.Fprintf(w, "  %s client -gateway %s -user %d -token %s\n", command, gateway, user, s.Tokens.Issue(user, token.TrialLife))
	}
	fmt.Fprintf(w, "Tokens for others:\n  %s token -key-file %s -user 3\n", command, s.KeyFile)
	fmt.Fprintf(w, "Another access server:\n  %s access -etcd %s -nats %s -key-file %s\n", command, etcd, nats, s.KeyFile)
	fmt.Fprintf(w, "What it withstands, with 300 users, in about a minute:\n  %s -demo\n", command)
}
