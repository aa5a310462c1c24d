package libnettest

import (
	"bytes"
	"runtime"
	"strings"
)

// goroutine is one paragraph of what runtime.Stack prints.
type goroutine struct {
	id      string
	creator string // the function with the go statement
	parent  string // the id of the goroutine that ran it; empty for the first
	stack   string // the whole paragraph
}

// usualStack is about what one goroutine takes in a dump. All stand still for as long as one is made, also for one that
// finds no room.
const usualStack = 1 << 10

// goroutines lists all but those that the runtime hides and the one that calls, which is returned
// beside them.
func goroutines() (self goroutine, others []goroutine) {
	dump := make([]byte, 64<<10+runtime.NumGoroutine()*usualStack)
	n := runtime.Stack(dump, true)
	for n == len(dump) { // it was cut off
		dump = make([]byte, 2*len(dump))
		n = runtime.Stack(dump, true)
	}
	for i, paragraph := range bytes.Split(dump[:n], []byte("\n\n")) {
		g := parseGoroutine(strings.TrimSpace(string(paragraph)))
		if i == 0 { // runtime.Stack prints its caller first
			self = g
			continue
		}
		others = append(others, g)
	}
	return self, others
}

// parseGoroutine reads
//
//	goroutine 7 [chan receive]:
//	pkg.function(0x1, ...)
//		/path/file.go:12 +0x1d
//	created by pkg.creator in goroutine 1
//		/path/file.go:10 +0x5c
func parseGoroutine(stack string) goroutine {
	g := goroutine{stack: stack}
	lines := strings.Split(stack, "\n")
	if fields := strings.Fields(lines[0]); len(fields) > 1 {
		g.id = fields[1]
	}
	for _, line := range lines {
		if creator, found := strings.CutPrefix(line, "created by "); found {
			g.creator, g.parent, _ = strings.Cut(creator, " in goroutine ")
		}
	}
	return g
}

// isOfProcess holds for goroutines of the runtime, of the test framework and its profilers, of signal
// delivery (one loop a process, never ended) and of package initialization: no test can end those.
func (g goroutine) isOfProcess() bool {
	if g.creator == "" { // main
		return true
	}
	for _, pkg := range []string{"runtime.", "runtime/pprof.", "runtime/trace.", "testing.", "internal/fuzz.", "os/signal."} {
		if strings.HasPrefix(g.creator, pkg) {
			return true
		}
	}
	name := g.creator[strings.LastIndexByte(g.creator, '/')+1:] // package.function, package.init.0, package.init.func1
	_, function, _ := strings.Cut(name, ".")
	return function == "init" || strings.HasPrefix(function, "init.")
}
