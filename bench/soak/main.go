// Soak runs libnet's servers for hours under clients that come, go, break, stall and lie, restarts every server once a
// minute, and looks for what grows: memory, goroutines, descriptors, and messages that no count accounts for.
//
//	go run ./bench/soak -for 2h        # from the repository's root, on Linux
//	go run ./bench/soak -for 3m -round 10s
//
// It writes soak.csv and soak.svg and prints a verdict; ../README.md says what it does and what it asserts. It exits
// with 1 when something is not as it should be.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	lasts   time.Duration
	round   time.Duration // from one restart of the servers to the next
	every   time.Duration // between samples
	load    float64       // cores that both processes use together
	clients float64       // times the usual number of clients
	out     string        // folder
	verbose bool
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == serveForm {
		serve(os.Stdin, os.Stdout)
		return
	}
	o := parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func parse() (o options) {
	flag.DurationVar(&o.lasts, "for", 2*time.Hour, "how long to run; what is under way when that has passed is completed")
	flag.DurationVar(&o.round, "round", time.Minute, "time from one restart of all servers to the next")
	flag.DurationVar(&o.every, "every", 5*time.Second, "time between samples")
	flag.Float64Var(&o.load, "load", 0.5, "processor cores that servers and clients together may use")
	flag.Float64Var(&o.clients, "clients", 1, "times the usual number of clients, about a hundred at a time")
	flag.StringVar(&o.out, "out", filepath.Join("bench", "out"), "folder for soak.csv and soak.svg")
	flag.BoolVar(&o.verbose, "v", false, "print every restart's figures")
	flag.Parse()
	if flag.NArg() > 0 || o.round < time.Second || o.every <= 0 || o.load <= 0 || o.clients <= 0 {
		flag.Usage()
		os.Exit(2)
	}
	return o
}

// run soaks, writes what it saw, and returns an error unless all was well.
func run(ctx context.Context, o options) error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	rec, err := newRecord(filepath.Join(o.out, "soak.csv"))
	if err != nil {
		return err
	}
	faults, err := soak(ctx, o, rec)
	if err := errors.Join(err, rec.close()); err != nil {
		return err
	}
	if err := saveChart(rec.samples, filepath.Join(o.out, "soak.svg")); err != nil {
		return err
	}
	v := judge(rec.samples, faults)
	fmt.Print(v.text)
	if !v.ok {
		return errors.New("not everything was as it should be")
	}
	return nil
}
