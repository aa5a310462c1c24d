package main

import (
	"fmt"
	"slices"
	"strings"
)

// A verdict says whether all was as it should be, and in how far.
type verdict struct {
	ok   bool
	text string
}

// A figure must not grow from the first to the last third of the quiet points: its median may be larger by a share and
// an amount.
type figure struct {
	name   string
	of     func(sample) float64
	share  float64
	amount float64
	unit   string
}

const mib = 1 << 20

var figures = []figure{
	{"server RSS", func(s sample) float64 { return float64(s.Server.RSS) / mib }, 0.05, 2, " MiB"},
	{"server heap", func(s sample) float64 { return float64(s.Server.Heap) / mib }, 0.05, 0.5, " MiB"},
	{"server goroutines", func(s sample) float64 { return float64(s.Server.Goroutines) }, 0, 2, ""},
	{"server descriptors", func(s sample) float64 { return float64(s.Server.Descriptors) }, 0, 2, ""},
	{"client RSS", func(s sample) float64 { return float64(s.Client.RSS) / mib }, 0.05, 2, " MiB"},
	{"client heap", func(s sample) float64 { return float64(s.Client.Heap) / mib }, 0.05, 0.5, " MiB"},
	{"client goroutines", func(s sample) float64 { return float64(s.Client.Goroutines) }, 0, 2, ""},
	{"client descriptors", func(s sample) float64 { return float64(s.Client.Descriptors) }, 0, 2, ""},
}

// fewest is how many quiet points say something about growth.
const fewest = 6

// judge leaves the first fifth out, and two quiet points at least: buffers, pools and stacks find their size there.
func judge(samples []sample, f *faults) verdict {
	var b strings.Builder
	v := verdict{ok: true}
	var quiet []sample
	for _, s := range samples {
		if s.Quiet {
			quiet = append(quiet, s)
		}
	}
	fmt.Fprintf(&b, "%d restarts of all servers\n", len(quiet))
	quiet = quiet[min(len(quiet), max(2, len(quiet)/5)):]
	if len(quiet) < fewest {
		fmt.Fprintf(&b, "%d quiet points after the warm-up: too few to tell growth\n", len(quiet))
	} else {
		for _, fig := range figures {
			v.ok = fig.judge(&b, quiet) && v.ok
		}
	}
	for _, s := range quiet {
		if s.Open != 0 {
			v.ok = false
			fmt.Fprintf(&b, "FAULT: %d sessions open at the quiet point of round %d\n", s.Open, s.Round)
		}
	}
	first, all := f.list()
	for _, text := range first {
		fmt.Fprintf(&b, "FAULT: %s\n", text)
	}
	fmt.Fprintf(&b, "%d faults\n", all)
	v.ok = v.ok && all == 0
	v.text = b.String()
	return v
}

func (fig figure) judge(b *strings.Builder, quiet []sample) bool {
	third := len(quiet) / 3
	before, after := fig.median(quiet[:third]), fig.median(quiet[len(quiet)-third:])
	limit := before*(1+fig.share) + fig.amount
	word := "flat"
	if after > limit {
		word = "GROWS"
	}
	fmt.Fprintf(b, "%-5s %-18s %.1f%s in the first third, %.1f%s in the last (at most %.1f%s)\n",
		word, fig.name, before, fig.unit, after, fig.unit, limit, fig.unit)
	return after <= limit
}

func (fig figure) median(samples []sample) float64 {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = fig.of(s)
	}
	slices.Sort(values)
	return values[len(values)/2]
}
