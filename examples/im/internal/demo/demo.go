// Package demo is a demonstration: a whole messenger, users who talk on it, and what comes out when parts of it fail.
//
//	err := demo.Run(ctx, system.Options{Logger: log}, demo.Whole, os.Stdout, os.Stderr)
//
// Users keep records of what was acknowledged to them and of what they heard, which are compared after each fault: that
// is package trial. The faults are in faults.go.
package demo

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/registry"
	"github.com/libnet-go/libnet/examples/im/internal/system"
	"github.com/libnet-go/libnet/examples/im/internal/trial"
)

// Options say how large a demonstration is.
type Options struct {
	clients  int           // that connect to see how they are spread
	users    int           // who talk
	twins    int           // users who log in at two servers at the same time
	talking  time.Duration // how long they talk before and after each fault
	outage   time.Duration // of etcd
	delivery time.Duration // how long what was acknowledged may be on its way; what has not come then is lost
	limits   limits

	// miss, in tests, has a user miss a message: a test that a loss is found.
	miss func(user int64, text string) bool
}

// limits are what figures are held to.
type limits struct {
	uneven      float64       // how many times as many clients one of several equal servers may have than another
	drainNotice time.Duration // from a drain's begin until the gateway sends nobody there, and drainNews times what news take then
	drainNews   int
	crashNotice time.Duration // the same from a crash
	etcdReturn  time.Duration // from etcd's return until all access servers have registered again
}

// Whole is the demonstration that the program gives.
var Whole = Options{
	clients: 3000, users: 300, twins: 100,
	talking: 2 * time.Second, outage: 30 * time.Second, delivery: 20 * time.Second,
	limits: limits{
		uneven: 1.05, drainNotice: 50 * time.Millisecond, drainNews: 2, crashNotice: registry.TTL + time.Second, etcdReturn: 3 * time.Second,
	},
}

const (
	// stopTimeout bounds how long the messenger takes to end.
	stopTimeout = 3 * time.Second
	// nameWidth is that of the longest promise's name.
	nameWidth = 18
)

// demo is a demonstration that runs: a whole messenger, the users on it, and what is said about them.
type demo struct {
	o       Options
	log     *slog.Logger // the parts'
	s       *system.System
	report  *trial.Report
	note    func(format string, args ...any) // tells who watches what is going on
	crowd   *trial.Crowd                     // nil before the users come
	answers *trial.Answers                   // what the gateway says meanwhile; nil before the users come
}

// Run starts a messenger of its own, has users talk while parts of it fail, and writes to out one line for each promise
// and one for all of them, and to progress what is going on. Its error says that some promise was not kept, or why
// there is no result.
func Run(ctx context.Context, s system.Options, o Options, out, progress io.Writer) error {
	began := time.Now()
	d := &demo{o: o, log: s.Logger, report: trial.NewReport(out, ctx.Done(), nameWidth)}
	d.note = func(format string, args ...any) {
		fmt.Fprintf(progress, "%5.1f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	s.Servers = 3
	var err error
	if d.s, err = system.Start(ctx, s); err != nil {
		return err
	}
	defer d.stop(ctx)
	if err := d.run(ctx); err != nil {
		return fmt.Errorf("the demonstration ended early: %w", err)
	}
	return d.report.Sum(time.Since(began))
}

// run is the demonstration, step by step. Each step adds what it found to the report.
func (d *demo) run(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		d.spread,
		d.logIn,
		d.talk,
		d.kill,
		d.drain,
		d.outage,
		d.total,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// stop ends the users and the messenger, promptly also when nobody waits for the result any more.
func (d *demo) stop(ctx context.Context) {
	if d.answers != nil {
		d.answers.Stop()
	}
	if d.crowd != nil {
		d.crowd.Close()
	}
	for len(d.s.Running()) > 0 { // nobody is left for whom they would have to drain, perhaps without etcd
		d.s.Remove().Kill()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	d.s.Stop(ctx)
}
