package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// A column is one figure of a row's table.
type column struct {
	title  string
	value  func(Result) float64
	format func(float64) string
	ratio  bool // a column of its ratio to the base server follows
}

func rateOf(r Result) float64       { return r.Rate }
func cpuOf(r Result) float64        { return r.CPU }
func sessionRSSOf(r Result) float64 { return r.SessionRSS }

func columnsOf(kind rowKind) []column {
	unit := map[string]string{"message": "msg", "connection": "conn", "delivery": "delivery"}[kind.unit()]
	rate := column{unit + "/s", rateOf, formatRate, true}
	cpu := column{"CPU/" + unit, cpuOf, formatNanos, true}
	p50 := column{"p50", func(r Result) float64 { return r.P50 }, formatNanos, true}
	p99 := column{"p99", func(r Result) float64 { return r.P99 }, formatNanos, true}
	longest := column{"longest", func(r Result) float64 { return r.Max }, formatNanos, false}
	rss := column{"RSS", func(r Result) float64 { return r.RSS }, formatBytes, false}
	switch {
	case kind == idleKind:
		session := column{"RSS/conn", sessionRSSOf, formatBytes, true}
		kept := column{"by default", func(r Result) float64 { return r.KeptRSS }, formatBytes, true}
		return []column{session, kept, rss, cpu, rate, p50, p99}
	case kind.disturbed():
		calm := column{"p99 without", func(r Result) float64 { return r.CalmP99 }, formatNanos, false}
		with := column{"with", func(r Result) float64 { return r.P99 }, formatNanos, false}
		times := column{"with ÷ without", disturbance, formatRatio, false}
		return []column{calm, with, times, longest, rate, cpu}
	}
	return []column{rate, cpu, p50, p99, rss}
}

// disturbance is how many times the p99 grew.
func disturbance(r Result) float64 { return ratio(r.P99, r.CalmP99) }

// ratio is 0, not measured, where either is.
func ratio(value, base float64) float64 {
	if base == 0 {
		return 0
	}
	return value / base
}

// writeTable prints one row with its ratios to the base server.
func writeTable(w io.Writer, r RowReport, base string) error {
	columns := columnsOf(r.Kind)
	base = r.baseOr(base)
	head := []string{"server"}
	for _, c := range columns {
		head = append(head, c.title)
		if c.ratio {
			head = append(head, "÷ "+base)
		}
	}
	lines := [][]string{head}
	var notes []string
	baseline, _ := r.server(base)
	for _, s := range r.Servers {
		line := []string{s.Server}
		for _, c := range columns {
			v := c.value(s.Median)
			line = append(line, orDash(v, c.format))
			if c.ratio {
				line = append(line, orDash(ratio(v, c.value(baseline)), formatRatio))
			}
		}
		if s.Median.Error != "" {
			notes = append(notes, fmt.Sprintf("%s: %s", s.Server, s.Median.Error))
		}
		lines = append(lines, line)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "\n%s: %s\n", r.Name, r.About)
	align(&out, lines)
	for _, note := range notes {
		fmt.Fprintf(&out, "! %s\n", note)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// align writes the first cells to the left of their column, all others to the right.
func align(out *strings.Builder, lines [][]string) {
	widths := columnWidths(lines)
	for _, line := range lines {
		for i, cell := range line {
			space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				out.WriteString("  " + cell + space)
			} else {
				out.WriteString("  " + space + cell)
			}
		}
		out.WriteByte('\n')
	}
}

func columnWidths(lines [][]string) []int {
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	return widths
}

func orDash(v float64, format func(float64) string) string {
	if v == 0 {
		return "–"
	}
	return format(v)
}

func formatRatio(v float64) string { return significant(v) }

func formatRate(v float64) string {
	switch {
	case v >= 1e6:
		return significant(v/1e6) + " M"
	case v >= 1e3:
		return significant(v/1e3) + " k"
	}
	return significant(v)
}

func formatNanos(v float64) string {
	switch {
	case v >= 1e6:
		return significant(v/1e6) + " ms"
	case v >= 1e3:
		return significant(v/1e3) + " µs"
	}
	return significant(v) + " ns"
}

func formatBytes(v float64) string {
	switch {
	case v >= 1<<20 || v <= -1<<20:
		return significant(v/(1<<20)) + " MiB"
	case v >= 1<<10 || v <= -1<<10:
		return significant(v/(1<<10)) + " KiB"
	}
	return significant(v) + " B"
}

// significant prints three figures, or all that stand before the point.
func significant(v float64) string {
	switch {
	case v >= 99.95 || v <= -99.95:
		return fmt.Sprintf("%.0f", v)
	case v >= 9.995 || v <= -9.995:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
