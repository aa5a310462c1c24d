package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

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
	demonstration := flags.Bool("demo", false, "put 300 users and some faults on it, say what came out, and end")
	if err := flags.parse(args); err != nil {
		return err
	}
	if o.Servers < 1 || o.Servers > maxServers {
		return fmt.Errorf("-servers %d: it takes at least one, and at most %d", o.Servers, maxServers)
	}
	o.Etcd, o.NATS, o.Logger = list(flags.etcd), list(flags.nats), flags.logger()
	if !*demonstration {
		return serveAll(ctx, o, std)
	}
	if o.Etcd != nil || o.NATS != nil {
		return errors.New("-demo makes things fail: it takes an etcd and a NATS of its own, without -etcd and -nats")
	}
	o.Page, o.Logger = "", demoLog(flags.verbose, std)
	return demo.Run(ctx, o, demo.Whole, std.out, std.err)
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
	<-ctx.Done()
	fmt.Fprintln(std.out, "\nstopping")
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	s.Stop(stopping)
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
