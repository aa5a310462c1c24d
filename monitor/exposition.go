package monitor

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// The exposition is written by hand: the package's documentation says why. Prometheus' own linter and parser
// check it, in the nested module monitortest, and Prometheus itself reads it.

// An exposition is a text of Prometheus' format, in which all samples of a metric stand together, whichever server they
// are of.
type exposition struct {
	families []*family // in the order in which they were first named
	byName   map[string]*family
	server   string // the label of the samples that are written; "": none
}

type family struct {
	name, help, kind string
	samples          bytes.Buffer
}

func (x *exposition) family(name, help, kind string) *family {
	f := x.byName[name]
	if f == nil {
		if x.byName == nil {
			x.byName = make(map[string]*family)
		}
		f = &family{name: name, help: help, kind: kind}
		x.byName[name] = f
		x.families = append(x.families, f)
	}
	return f
}

func (x *exposition) gauge(name, help string, value float64) {
	x.sample(x.family(name, help, "gauge"), "", value)
}

func (x *exposition) counter(name, help string, value uint64) {
	x.sample(x.family(name, help, "counter"), "", float64(value))
}

// sample writes one, with labels in pairs of name and value beside the server's.
func (x *exposition) sample(f *family, suffix string, value float64, labels ...string) {
	f.samples.WriteString(f.name + suffix)
	if x.server != "" {
		labels = append([]string{"server", x.server}, labels...)
	}
	separator := "{"
	for i := 0; i < len(labels); i += 2 {
		fmt.Fprintf(&f.samples, `%s%s="%s"`, separator, labels[i], escapeLabel.Replace(labels[i+1]))
		separator = ","
	}
	if len(labels) > 0 {
		f.samples.WriteByte('}')
	}
	fmt.Fprintf(&f.samples, " %s\n", decimal(value))
}

// What the format escapes; texts are valid UTF-8 by then.
var (
	escapeLabel = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	escapeHelp  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
)

// decimal writes whole numbers as such up to where a float64 has all of them.
func decimal(value float64) string {
	if value >= 0 && value < 1<<53 && value == float64(uint64(value)) {
		return strconv.FormatUint(uint64(value), 10)
	}
	return strconv.FormatFloat(value, 'g', -1, 64)
}

// byReason has all of them from the beginning: a counter that appears with its first event has no increase for that
// one.
func (x *exposition) byReason(name, help string, values map[string]uint64) {
	all := maps.Clone(values)
	if all == nil {
		all = make(map[string]uint64)
	}
	for _, reason := range reasons {
		all[reason] += 0
	}
	f := x.family(name, help, "counter")
	for _, reason := range slices.Sorted(maps.Keys(all)) {
		x.sample(f, "", float64(all[reason]), "reason", reason)
	}
}

// histogram writes none that is not measured.
func (x *exposition) histogram(name, help string, h *Histogram) {
	if h == nil {
		return
	}
	f := x.family(name, help, "histogram")
	below := uint64(0)
	for i, bound := range h.Bounds {
		below += h.Counts[i]
		x.sample(f, "_bucket", float64(below), "le", decimal(bound))
	}
	total := below + h.Counts[len(h.Bounds)]
	x.sample(f, "_bucket", float64(total), "le", "+Inf")
	x.sample(f, "_sum", h.Sum)
	x.sample(f, "_count", float64(total))
}

// text is the whole of it.
func (x *exposition) text() []byte {
	var all bytes.Buffer
	for _, f := range x.families {
		fmt.Fprintf(&all, "# HELP %s %s\n# TYPE %s %s\n", f.name, escapeHelp.Replace(strings.ToValidUTF8(f.help, "�")), f.name, f.kind)
		all.Write(f.samples.Bytes())
	}
	return all.Bytes()
}
