// Bench measures libnet's servers beside servers written by hand and beside other libraries, on the
// same work, with the same client.
//
//	go run ./bench                     # from the repository's root: everything, about an hour
//	go run ./bench -quick              # a first look, about a minute
//	go run ./bench -rows 'ping|pipe' -servers '^net|^libnet'
//
// README.md beside this file tells what is measured, how, and what came out.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

func main() {
	isChild, err := runChild(os.Args[1:])
	if !isChild {
		err = run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// patience is how long a server that stalls holds up the run.
const patience = 3 * time.Second

// options are the command line.
type options struct {
	plan     plan
	out      string
	base     string
	profiles string // folder; "" for none
	from     bool   // print and draw what out holds, measure nothing
	add      bool   // put the rounds behind those that out holds
}

func parse() (options, error) {
	o := options{plan: plan{rows: rows, servers: servers, rounds: 3, warm: 500 * time.Millisecond, window: 2 * time.Second}}
	quick := flag.Bool("quick", false, "one short round of the main rows: a first look, not to be quoted")
	rowPattern := flag.String("rows", "", "measure the rows whose name matches this regular expression")
	serverPattern := flag.String("servers", "", "measure the servers whose name matches this regular expression")
	list := flag.Bool("list", false, "name the rows and servers and exit")
	rounds := flag.Int("rounds", 0, "rounds a row; the figures are their medians (default 3, or 1 with -quick)")
	window := flag.Duration("window", 0, "length of each measured window (default 2s, or 250ms with -quick)")
	flag.StringVar(&o.out, "out", "", "folder for bench.json and bench.svg (default bench/results; bench/out for -quick or -servers, which would overwrite a whole row by a part)")
	flag.StringVar(&o.base, "base", "net", "server that the table's ratios are to")
	flag.StringVar(&o.profiles, "cpuprofile", "", "write a CPU profile of each server's windows into this folder, the last round's")
	flag.BoolVar(&o.add, "add", false, "add the rounds to those that bench.json holds of the same rows, measured alike, in place of replacing them")
	flag.BoolVar(&o.from, "from", false, "measure nothing: print and draw again what bench.json holds")
	flag.Parse()
	if flag.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	if *list {
		printList()
		os.Exit(0)
	}
	if *rounds < 0 || *window < 0 {
		return o, errors.New("-rounds and -window must be positive")
	}
	if o.out == "" {
		o.out = filepath.Join(benchFolder(), "results")
		if *quick || *serverPattern != "" {
			o.out = filepath.Join(benchFolder(), "out")
		}
	}
	if *quick {
		o.plan.quicken(*rowPattern == "")
	}
	o.plan.rounds = cmp.Or(*rounds, o.plan.rounds)
	o.plan.window = cmp.Or(*window, o.plan.window)
	return o, o.plan.choose(*rowPattern, *serverPattern)
}

// benchFolder is where this program's files are, seen from the repository's root or from there.
func benchFolder() string {
	if _, err := os.Stat("bench/go.mod"); err == nil {
		return "bench"
	}
	return "."
}

func printList() {
	for _, r := range rows {
		fmt.Printf("row     %-22s %s\n", r.Name, r.describe())
	}
	for _, s := range servers {
		fmt.Printf("server  %-22s %s\n", s.name, s.about)
	}
}

func run() error {
	o, err := parse()
	if err != nil {
		return err
	}
	report, err := load(filepath.Join(o.out, reportFile))
	if err != nil {
		return err
	}
	if o.from {
		if len(report.Rows) == 0 {
			return fmt.Errorf("%s holds no measurement", o.out)
		}
		for _, r := range report.Rows {
			if err := writeTable(os.Stdout, r, o.base); err != nil {
				return err
			}
		}
		if err := report.save(o.out); err != nil {
			return err
		}
		return writeSummary(os.Stdout, report, o.base)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	report.Machine = thisMachine()
	if err := o.measure(ctx, report); err != nil {
		return err
	}
	if err := writeSummary(os.Stdout, report, o.base); err != nil {
		return err
	}
	fmt.Printf("\nwritten: %s and %s\n", filepath.Join(o.out, reportFile), filepath.Join(o.out, chartFile))
	return nil
}

// measure takes row after row, and saves and prints each when it is complete.
func (o *options) measure(ctx context.Context, report *Report) error {
	if o.profiles != "" {
		if err := os.MkdirAll(o.profiles, 0o755); err != nil {
			return err
		}
	}
	bar := progressbar.NewOptions(o.plan.measurements(),
		progressbar.OptionSetWriter(os.Stderr),
		progressbar.OptionSetVisibility(term.IsTerminal(int(os.Stdout.Fd()))),
		progressbar.OptionSetWidth(24),
		progressbar.OptionShowCount(),
		progressbar.OptionClearOnFinish(),
	)
	for _, r := range o.plan.rows {
		selected := o.plan.serversOf(r)
		if len(selected) == 0 {
			continue
		}
		done := o.newRow(r, selected)
		if o.add {
			if err := done.addTo(report); err != nil {
				return err
			}
		}
		if err := o.measureRow(ctx, &done, selected, bar); err != nil {
			return err
		}
		report.put(done)
		if err := report.save(o.out); err != nil {
			return err
		}
		bar.Clear()
		if err := writeTable(os.Stdout, done, o.base); err != nil {
			return err
		}
	}
	return bar.Finish()
}

// newRow is a row of which no round has been measured.
func (o *options) newRow(r row, selected []server) RowReport {
	done := RowReport{
		row: r, About: r.describe(), Unit: r.Kind.unit(),
		Date: time.Now().UTC().Truncate(time.Second), Go: runtime.Version(), Seconds: o.plan.window.Seconds(),
	}
	for _, s := range selected {
		done.Servers = append(done.Servers, ServerReport{Server: s.name, About: s.about})
	}
	return done
}

// measureRow interleaves the rounds: every server once, then again, each time beginning with the
// next one, so that a drift of the machine meets all alike.
func (o *options) measureRow(ctx context.Context, done *RowReport, selected []server, bar *progressbar.ProgressBar) error {
	earlier := len(done.Servers[0].Rounds)
	for round := range o.plan.rounds {
		for turn := range selected {
			i := (earlier + round + turn) % len(selected)
			bar.Describe(fmt.Sprintf("%-22s %-18s", done.Name, selected[i].name))
			result := measureOnce(ctx, selected[i], o.job(done.row, selected[i]))
			if err := ctx.Err(); err != nil {
				return err
			}
			done.Servers[i].Rounds = append(done.Servers[i].Rounds, result)
			bar.Add(1)
		}
	}
	for i := range done.Servers {
		done.Servers[i].Median = median(done.Servers[i].Rounds)
	}
	return nil
}

func (o *options) job(r row, s server) job {
	j := job{Row: r, Warm: o.plan.warm, Window: o.plan.window, Patience: patience, Over: s.over}
	if o.profiles != "" {
		// The server process opens it; it shares this one's working directory.
		j.Profile = filepath.Join(o.profiles, r.Name+"."+s.name+".pprof")
	}
	return j
}
