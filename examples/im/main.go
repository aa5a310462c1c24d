// Im is a messenger on libnet: a gateway, access servers, clients and a page for the browser.
//
//	im             everything in one process, etcd and NATS included, until Ctrl-C
//	im -demo       the same, with 300 users and faults; one line a promise, PASS or FAIL
//	im gateway     tells clients which access server to use
//	im access      an access server: holds sessions
//	im client      a client in the terminal
//	im token       prints a user's token
//
// Each takes -help. README.md next to this file says how the parts fit together.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	err := run(ctx, os.Args[1:], std{os.Stdin, os.Stdout, os.Stderr})
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case interrupted && errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "im: interrupted")
		os.Exit(1)
	case err != nil:
		fmt.Fprintln(os.Stderr, "im:", err)
		os.Exit(1)
	}
}

// std is what a command reads and writes.
type std struct {
	in       io.Reader
	out, err io.Writer
}

// usage is what im -help begins with.
const usage = `Im is a messenger on libnet.

  im             everything in one process, etcd and NATS included, until Ctrl-C
  im -demo       the same, with 300 users and faults; one line a promise, PASS or FAIL
  im gateway     tells clients which access server to use
  im access      an access server: holds sessions
  im client      a client in the terminal
  im token       prints a user's token

Each takes -help.

`

var commands = map[string]func(ctx context.Context, args []string, std std) error{
	"all":     runAll,
	"gateway": runGateway,
	"access":  runAccess,
	"client":  runClient,
	"token":   runToken,
}

// run is the program without its process.
func run(ctx context.Context, args []string, std std) error {
	name := "all"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	command, ok := commands[name]
	if !ok {
		return fmt.Errorf("there is no command %q: it is gateway, access, client, token or all", name)
	}
	return command(ctx, args, std)
}

// flags is a command's flag set with those that several commands have.
type flags struct {
	*flag.FlagSet
	about   string // precedes the options in what -help prints
	std     std
	etcd    string
	nats    string
	verbose bool
}

func newFlags(name string, std std) *flags {
	f := &flags{FlagSet: flag.NewFlagSet("im "+name, flag.ContinueOnError), std: std}
	f.SetOutput(io.Discard) // an error is returned, and printed once
	f.Usage = func() {}
	f.BoolVar(&f.verbose, "v", false, "log more")
	return f
}

func (f *flags) withEtcd(byDefault string) {
	f.StringVar(&f.etcd, "etcd", "", "etcd's `addresses`, host:port, with commas between them"+byDefault)
}

func (f *flags) withNATS(byDefault string) {
	f.StringVar(&f.nats, "nats", "", "`URLs` of a NATS with JetStream, with commas between them"+byDefault)
}

// parse returns an error for what is no flag, too.
func (f *flags) parse(args []string) error {
	err := f.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(f.std.out, "%sOptions of %s:\n", f.about, f.Name())
		f.SetOutput(f.std.out)
		f.PrintDefaults()
		return err
	case err != nil:
		return fmt.Errorf("%w; options are listed by %s -help", err, f.Name())
	case f.NArg() > 0:
		return fmt.Errorf("what is %q? Options are listed by %s -help", f.Arg(0), f.Name())
	}
	return nil
}

func (f *flags) logger() *slog.Logger {
	level := slog.LevelWarn
	if f.verbose {
		level = slog.LevelInfo
	}
	return slog.New(slog.NewTextHandler(f.std.err, &slog.HandlerOptions{Level: level}))
}

// unreachable says which engine a part has waited for.
func unreachable(engine string, at []string, cause error) error {
	return fmt.Errorf("%s at %s does not answer, is it running? %w", engine, strings.Join(at, ","), cause)
}

// list cuts a flag's value at its commas.
func list(value string) []string {
	if value == "" {
		return nil
	}
	return strings.Split(value, ",")
}

const (
	// startTimeout bounds how long a part waits for etcd and NATS at its start.
	startTimeout = 30 * time.Second
	// stopTimeout bounds how long a part takes to end after Ctrl-C.
	stopTimeout = 3 * time.Second
	// drainTimeout is how long an access server may take to deliver what it has acknowledged.
	drainTimeout = 10 * time.Second
)
