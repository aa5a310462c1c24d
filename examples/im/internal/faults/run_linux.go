package faults

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/trial"
)

// options are the flags.
type options struct {
	list    bool
	only    string
	logs    string
	verbose bool
}

// Run is the command "faults": it tries all faults, or those of -only, and prints a line for each to out. Its error
// says that a promise was not kept, or why there is no result. With a role as the first argument it is one of the
// programme's own processes.
func Run(ctx context.Context, args []string, out, progress io.Writer) error {
	if len(args) > 0 {
		if role, ok := roles[args[0]]; ok {
			return role(ctx, args[1:], out, progress)
		}
	}
	o, err := parse(args, out)
	if err != nil {
		return err
	}
	if o.list {
		list(out)
		return nil
	}
	if _, err := chosen(o.only); err != nil {
		return err
	}
	return outside(ctx, o, args, out, progress)
}

func parse(args []string, out io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("im faults", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // an error is returned, and printed once
	flags.BoolVar(&o.list, "list", false, "list the faults, and end")
	flags.StringVar(&o.only, "only", "", "try only the faults of these `names`, with commas between them")
	flags.StringVar(&o.logs, "logs", "", "keep what the processes print in this `folder`")
	flags.BoolVar(&o.verbose, "v", false, "say what is going on")
	switch err = flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(out, "Options of im faults:")
		flags.SetOutput(out)
		flags.PrintDefaults()
	case err == nil && flags.NArg() > 0:
		err = fmt.Errorf("what is %q? Options are listed by im faults -help", flags.Arg(0))
	}
	return o, err
}

func list(out io.Writer) {
	for _, f := range catalogue {
		fmt.Fprintf(out, "%-*s %s\n", nameWidth, f.name, f.about)
	}
}

// nameWidth is that of the longest name.
const nameWidth = 17

// chosen are the faults of these names, in the catalogue's order; all for "".
func chosen(names string) ([]fault, error) {
	if names == "" {
		return catalogue, nil
	}
	wanted := make(map[string]bool)
	for name := range strings.SplitSeq(names, ",") {
		wanted[name] = true
	}
	var faults []fault
	for _, f := range catalogue {
		if wanted[f.name] {
			faults = append(faults, f)
			delete(wanted, f.name)
		}
	}
	for name := range wanted {
		return nil, fmt.Errorf("there is no fault %q; -list lists them", name)
	}
	return faults, nil
}

// try tries the faults in a folder, and on a network of its own if this process is in a sandbox.
func try(ctx context.Context, o options, dir string, sandbox bool, out, progress io.Writer) error {
	began := time.Now()
	faults, err := chosen(o.only)
	if err != nil {
		return err
	}
	p := &programme{report: trial.NewReport(out, ctx.Done(), nameWidth), log: logger(o.verbose, progress)}
	p.note = func(format string, args ...any) {
		if o.verbose {
			fmt.Fprintf(progress, "%5.1f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
		}
	}
	if o.logs == "" {
		o.logs = dir
	} else if err := os.MkdirAll(o.logs, 0o700); err != nil {
		return err
	}
	if p.in, err = install(dir, o.logs, sandbox); err != nil {
		return err
	}
	defer p.stop()
	if err := p.begin(ctx); err != nil {
		return fmt.Errorf("the messenger does not start: %w", err)
	}
	for _, f := range faults {
		if err := p.try(ctx, f); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	p.all()
	return p.report.Sum(time.Since(began))
}

// logger is silent unless -v is given: that clients complain of faults is no news here.
func logger(verbose bool, to io.Writer) *slog.Logger {
	if !verbose {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(to, &slog.HandlerOptions{Level: slog.LevelWarn}))
}
