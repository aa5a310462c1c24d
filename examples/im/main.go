// Im is a messenger on libnet: a gateway, access servers, clients and a page for the browser.
//
//	im             everything in one process, etcd and NATS included, until Ctrl-C
//	im -demo       the same, with 300 users and faults; one line a promise, PASS or FAIL
//	im gateway     tells clients which access server to use
//	im access      an access server: holds sessions
//	im client      a client in the terminal
//	im token       prints a user's token
//	im key         makes the key that all access servers share
//	im faults      the fault programme: a messenger of many processes, and one fault after the other
//
// Each takes -help. README.md next to this file says how the parts fit together.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
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
  im key         makes the key that all access servers share
  im faults      the fault programme: a messenger of many processes, and one fault after the other

Each takes -help.

`

var commands = map[string]func(ctx context.Context, args []string, std std) error{
	"all":     runAll,
	"gateway": runGateway,
	"access":  runAccess,
	"client":  runClient,
	"token":   runToken,
	"key":     runKey,
	"faults":  runFaults,
}

// run is the program without its process.
func run(ctx context.Context, args []string, std std) error {
	name := "all"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	command, ok := commands[name]
	if !ok {
		return fmt.Errorf("there is no command %q: it is gateway, access, client, token, key, faults or all", name)
	}
	return command(ctx, args, std)
}

const (
	// startTimeout bounds how long a part waits for etcd and NATS at its start.
	startTimeout = 30 * time.Second
	// stopTimeout bounds how long a part takes to end after Ctrl-C.
	stopTimeout = 3 * time.Second
	// drainTimeout is how long an access server may take to deliver what it has acknowledged.
	drainTimeout = 10 * time.Second
)
