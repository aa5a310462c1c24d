//go:build lockcheck && !schedules

package lock

import (
	"fmt"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// failed is told of the first lock that is taken out of order. It does not panic: libnet recovers panics
// where it calls its user.
var failed = func(report string) {
	fmt.Fprint(os.Stderr, report)
	os.Exit(2)
}

var order graph

// A hold is a lock and its class.
type hold struct {
	class reflect.Type
	lock  any
}

// An edge says that a lock of one class was taken under one of another.
type edge struct{ under, taken reflect.Type }

// A graph knows who holds what, and in which order classes were taken so far. It never has a cycle: the edge
// that would close one is reported.
type graph struct {
	mu sync.Mutex
	// mu guards the following.
	held   map[uintptr][]hold // by goroutine, in the order they were taken
	holder map[any]uintptr    // of each lock that is held for writing
	edges  map[edge][]uintptr // who made each first
}

// wants is called before a lock is waited for. It returns whom took is then told.
func (g *graph) wants(h hold) (id uintptr) {
	id = goroutine()
	if report := g.check(id, h); report != "" {
		failed(report)
	}
	return id
}

func (g *graph) check(id uintptr, h hold) (report string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, held := range g.held[id] {
		if report := g.addLocked(held, h); report != "" {
			return report
		}
	}
	return ""
}

// addLocked enters that h is wanted under held, and returns a report if it must not be.
func (g *graph) addLocked(held, h hold) (report string) {
	if held.lock == h.lock {
		return fmt.Sprintf("libnet: a %v is locked again by the goroutine that holds it\n\n%s", h.class, stack(callers()))
	}
	e := edge{held.class, h.class}
	if g.edges[e] != nil {
		return ""
	}
	back, cycle := g.pathLocked(h.class, held.class, nil)
	if !cycle {
		if g.edges == nil {
			g.edges = make(map[edge][]uintptr)
		}
		g.edges[e] = callers()
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "libnet: locks are taken in no order\n\n%v under %v, now:\n%s", e.taken, e.under, stack(callers()))
	for _, e := range back {
		fmt.Fprintf(&b, "\n%v under %v, when it first was:\n%s", e.taken, e.under, stack(g.edges[e]))
	}
	return b.String()
}

// pathLocked looks for a way from one class to another over those seen so far, none of which it visits again.
func (g *graph) pathLocked(from, to reflect.Type, seen []reflect.Type) (path []edge, ok bool) {
	if from == to {
		return nil, true
	}
	seen = append(seen, from)
	for e := range g.edges {
		if e.under != from || slices.Contains(seen, e.taken) {
			continue
		}
		if rest, ok := g.pathLocked(e.taken, to, seen); ok {
			return append([]edge{e}, rest...), true
		}
	}
	return nil, false
}

// took is called when a lock has been taken.
func (g *graph) took(id uintptr, h hold) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rememberLocked(id, h)
	g.holder[h.lock] = id
}

// tookRead is took for one of perhaps many readers.
func (g *graph) tookRead(id uintptr, h hold) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rememberLocked(id, h)
}

func (g *graph) rememberLocked(id uintptr, h hold) {
	if g.held == nil {
		g.held, g.holder = make(map[uintptr][]hold), make(map[any]uintptr)
	}
	g.held[id] = append(g.held[id], h)
}

// gave is called before a lock is released, by its holder or by another to whom it was left.
func (g *graph) gave(h hold) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.forgetLocked(g.holder[h.lock], h)
	delete(g.holder, h.lock)
}

// gaveRead is gave for one of perhaps many readers.
func (g *graph) gaveRead(h hold) {
	id := goroutine()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.forgetLocked(id, h) {
		return
	}
	for other := range g.held {
		if g.forgetLocked(other, h) {
			return
		}
	}
}

func (g *graph) forgetLocked(id uintptr, h hold) bool {
	held := g.held[id]
	i := slices.Index(held, h)
	if i < 0 {
		return false
	}
	g.held[id] = slices.Delete(held, i, i+1) // which stays, empty: no lock allocates then
	return true
}

// callers returns who called Lock.
func callers() []uintptr {
	const skipped, deepest = 2, 32
	pcs := make([]uintptr, deepest)
	return pcs[:runtime.Callers(skipped, pcs)]
}

// stack prints what callers returned, without the calls within this package.
func stack(pcs []uintptr) string {
	var b strings.Builder
	frames := runtime.CallersFrames(pcs)
	for more := true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		if !strings.Contains(f.Function, "/internal/lock.(*") {
			fmt.Fprintf(&b, "\t%s\n\t\t%s:%d\n", f.Function, f.File, f.Line)
		}
	}
	return b.String()
}
