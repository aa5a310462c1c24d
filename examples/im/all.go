package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

func runAll(ctx context.Context, args []string, std std) error {
	flags := newFlags("all", std)
	flags.about = usage
	flags.withEtcd("; default one in this process")
	flags.withNATS("; default one in this process")
	o := systemOptions{servers: 2}
	flags.StringVar(&o.gateway, "listen", "127.0.0.1:0", "the gateway's `address` for clients")
	flags.StringVar(&o.page, "page", "127.0.0.1:0", "`address` of the page for browsers; \"\" for none")
	flags.IntVar(&o.servers, "servers", o.servers, "how many access servers")
	flags.StringVar(&o.legacySalt, "legacy-salt", "", "accept the tokens of old clients, too, made with this `salt`")
	demo := flags.Bool("demo", false, "put 300 users and some faults on it, say what came out, and end")
	if err := flags.parse(args); err != nil {
		return err
	}
	if o.servers < 1 || o.servers > maxServers {
		return fmt.Errorf("-servers %d: it takes at least one, and at most %d", o.servers, maxServers)
	}
	o.etcd, o.nats, o.log = list(flags.etcd), list(flags.nats), flags.logger()
	if *demo {
		if o.etcd != nil || o.nats != nil {
			return errors.New("-demo makes things fail: it takes an etcd and a NATS of its own, without -etcd and -nats")
		}
		o.page, o.log = "", demoLog(flags.verbose, std)
		return runDemo(ctx, o, wholeDemo, std)
	}

	began := time.Now()
	s, err := startSystem(ctx, o)
	if err != nil {
		return err
	}
	introduce(std.out, s, time.Since(began))
	<-ctx.Done()
	fmt.Fprintln(std.out, "\nstopping")
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	s.stop(stopping)
	return nil
}

// maxServers is more access servers than make sense in one process.
const maxServers = 100

// introduce prints what can be done now.
func introduce(w io.Writer, s *system, took time.Duration) {
	const command = "go run ./examples/im"
	gateway := s.gateway.server.Addr()
	etcd, nats := strings.Join(s.o.etcd, ","), strings.Join(s.o.nats, ",")
	fmt.Fprintf(w, "Ready after %v; Ctrl-C ends it.\n\n", took.Round(10*time.Millisecond))
	if s.gateway.pageURL != "" {
		fmt.Fprintf(w, "  page     %s  (any name logs in; open it twice)\n", s.gateway.pageURL)
	}
	fmt.Fprintf(w, "  gateway  %s\n", gateway)
	for _, server := range s.servers {
		fmt.Fprintf(w, "  %s %s\n", server.id, server.addr)
	}
	fmt.Fprintf(w, "  etcd     %s\n  nats     %s\n\n", etcd, nats)
	fmt.Fprintln(w, "In other terminals, user 1 and user 2:")
	for user := int64(1); user <= 2; user++ {
		fmt.Fprintf(w, "  %s client -gateway %s -user %d -token %s\n", command, gateway, user, s.tokens.Issue(user, tokenLife))
	}
	fmt.Fprintf(w, "Tokens for others:\n  %s token -key-file %s -user 3\n", command, s.keyFile)
	fmt.Fprintf(w, "Another access server:\n  %s access -etcd %s -nats %s -key-file %s\n", command, etcd, nats, s.keyFile)
	fmt.Fprintf(w, "What it withstands, with 300 users, in about a minute:\n  %s -demo\n", command)
}
