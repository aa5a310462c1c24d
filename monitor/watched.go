package monitor

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/libnet-go/libnet/internal/usercode"
)

// maxWatched is how many numbers of the program's own there may be of a kind.
const maxWatched = 100

// watched is a function of the program's whose value the monitor shows. Each is called beside the others: one that
// hangs delays no other, and it is one goroutine that it keeps.
type watched struct {
	name, help string
	value      func() float64
	outside    outside
}

func newWatched(logger *slog.Logger, name, help string, value func() float64) *watched {
	return &watched{name: name, help: help, value: value, outside: outside{logger: logger, most: 1}}
}

func (m *monitor) watchGroups() {
	for _, name := range slices.Sorted(maps.Keys(m.Groups)) {
		size := m.Groups[name]
		m.groups = append(m.groups, newWatched(m.server.Logger, shown(name), "", func() float64 { return float64(size()) }))
	}
}

func (m *monitor) watchGauges() {
	for _, g := range m.Gauges {
		m.gauges = append(m.gauges, newWatched(m.server.Logger, g.Name, g.Help, g.Value))
	}
}

// number is the value of one that is watched.
type number struct {
	*watched
	Value float64
}

func (n number) Name() string { return n.name }
func (n number) Help() string { return n.help }

// numbersOf are the values of those that have one.
func numbersOf(all []*watched) (known []number) {
	values, said := make([]float64, len(all)), make([]bool, len(all))
	var asking sync.WaitGroup
	for i, w := range all {
		asking.Go(func() {
			v, err := call(&w.outside, w.name, addressPatience, w.value)
			values[i], said[i] = v, err == nil
		})
	}
	asking.Wait()
	for i, w := range all {
		if said[i] {
			known = append(known, number{w, values[i]})
		}
	}
	return known
}

// finite leaves out what JSON cannot write.
func finite(numbers []number) (values map[string]float64) {
	for _, n := range numbers {
		if math.IsNaN(n.Value) || math.IsInf(n.Value, 0) {
			continue
		}
		if values == nil {
			values = make(map[string]float64)
		}
		values[n.name] = n.Value
	}
	return values
}

// gaugeName is what Prometheus takes for the name of a metric.
var gaugeName = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)

// check says what is wrong with the options that are the program's own numbers and names.
func (o *Options) check() error {
	if len(o.Groups) > maxWatched || len(o.Gauges) > maxWatched {
		return fmt.Errorf("libnet: monitor: %d groups and %d gauges: %d of a kind at most", len(o.Groups), len(o.Gauges), maxWatched)
	}
	for name, size := range o.Groups {
		if size == nil {
			return fmt.Errorf("libnet: monitor: the group %.100q has no function", name)
		}
	}
	known := make(map[string]bool)
	for _, g := range o.Gauges {
		switch {
		case !gaugeName.MatchString(g.Name) || strings.HasPrefix(g.Name, "libnet_") || known[g.Name]:
			return fmt.Errorf("libnet: monitor: %.100q is no name for a gauge, or it is taken", g.Name)
		case g.Value == nil:
			return fmt.Errorf("libnet: monitor: the gauge %.100q has no function", g.Name)
		}
		known[g.Name] = true
	}
	if o.Resume != nil && usercode.IsNil(o.Resume) {
		return errors.New("libnet: monitor: Options.Resume is a nil pointer")
	}
	return o.checkOthers()
}

func (o *Options) checkOthers() error {
	for name, server := range o.Others {
		switch {
		case server == nil || name == "" || name == o.Name:
			return fmt.Errorf("libnet: monitor: %.100q of Options.Others is no server, or the name of another", name)
		case o.Name == "":
			return errors.New("libnet: monitor: Options.Others without a Name of the server")
		}
	}
	return nil
}
