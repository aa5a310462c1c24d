package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// writeSummary prints all rows as one Markdown table that reads as well as it is: the base server's
// figures, and the ratios of all others to them.
func writeSummary(w io.Writer, r *Report, base string) error {
	names := serverNames(r, base)
	lines := [][]string{append([]string{"row", "figure"}, names...)}
	for _, row := range r.Rows {
		rowBase := row.baseOr(base)
		baseline, _ := row.server(rowBase)
		for _, c := range columnsOf(row.Kind) {
			if !c.ratio && !row.Kind.disturbed() {
				continue
			}
			line := []string{row.Name, c.title}
			for _, name := range names {
				result, measured := row.server(name)
				line = append(line, summaryCell(c, result, measured, baseline, name == rowBase))
			}
			lines = append(lines, line)
		}
	}
	_, err := io.WriteString(w, "\n"+markdown(lines))
	return err
}

// summaryCell is a figure of the base server and a ratio of any other. What is a ratio already, or
// has no base, stands as it is.
func summaryCell(c column, result Result, measured bool, baseline Result, isBase bool) string {
	v := c.value(result)
	switch {
	case !measured:
		return ""
	case v == 0 && result.Error != "":
		return "stalled"
	case isBase || !c.ratio || c.value(baseline) == 0:
		return orDash(v, c.format)
	}
	return orDash(ratio(v, c.value(baseline)), formatRatio) + " ×"
}

// serverNames are those that the report has, the base first.
func serverNames(r *Report, base string) []string {
	var names []string
	for _, s := range servers {
		has := func(row RowReport) bool { _, ok := row.server(s.name); return ok }
		if slices.ContainsFunc(r.Rows, has) && s.name != base {
			names = append(names, s.name)
		}
	}
	return append([]string{base}, names...)
}

// markdown is a table whose first line is its head. The first two columns stand to the left.
func markdown(lines [][]string) string {
	rule := make([]string, len(lines[0]))
	for i := range rule {
		rule[i] = "---"
		if i >= 2 {
			rule[i] = "--:"
		}
	}
	lines = slices.Insert(lines, 1, rule)
	widths := columnWidths(lines)
	var out strings.Builder
	for _, line := range lines {
		for i, cell := range line {
			space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i < 2 {
				fmt.Fprintf(&out, "| %s%s ", cell, space)
			} else {
				fmt.Fprintf(&out, "| %s%s ", space, cell)
			}
		}
		out.WriteString("|\n")
	}
	return out.String()
}
