package libnettest

import (
	"flag"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// maxSweep bounds a sweep over a scenario that makes more calls the longer it runs.
const maxSweep = 10_000

// SingleFaults returns the ways in which a Read or Write can go wrong: an error, an error after a
// byte, a byte less without an error, and blocking before and after a byte. A panic is not among them,
// because a scenario without sessions does not survive one; append Fault{Panic: …} where it should.
func SingleFaults() []Fault {
	return []Fault{
		{Err: syscall.ECONNRESET},
		{N: 1, Err: syscall.ECONNRESET},
		{N: 1},
		{Block: true},
		{N: 1, Block: true},
	}
}

// Sweep runs a scenario again and again, each time with one fault: for each of kinds in the first
// call of op, then in the second, and so on until the scenario ends without having made that many
// calls. Each run is a subtest of t and gets its faults to wrap its conns with:
//
//	libnettest.Sweep(t, libnettest.OpWrite, libnettest.SingleFaults(), func(t *testing.T, faults *libnettest.Faults) {
//		client, server := libnettest.Pipe()
//		client = faults.Wrap(client)
//		…
//	})
//
// The subtests' names, such as "Write 3: 1 byte, then block", depend on nothing but the arguments, so one of
// them can be run alone: go test -run 'TestMine/Write_3:_1_byte,_then_block$'.
//
// The scenario must set its own bounds on waiting, or run in a synctest bubble, which finds what
// would wait for ever. It must not be parallel.
func Sweep(t *testing.T, op Op, kinds []Fault, scenario func(t *testing.T, faults *Faults)) {
	t.Helper()
	for _, kind := range kinds {
		for k := 1; sweepOnce(t, op, k, kind, scenario); k++ {
		}
	}
}

// sweepOnce runs the scenario with one fault, and reports whether there may be a call after the k-th. When -run
// leaves this subtest out nobody knows, and a later one may be meant.
func sweepOnce(t *testing.T, op Op, k int, kind Fault, scenario func(t *testing.T, faults *Faults)) (more bool) {
	t.Helper()
	began, ended, reached := false, false, false
	t.Run(fmt.Sprintf("%v %d: %v", op, k, kind), func(t *testing.T) {
		faults := &Faults{}
		faults.Fail(op, k, kind)
		began = true
		defer func() { ended, reached = true, faults.Calls(op) >= k }() // also when the scenario fails at once
		scenario(t, faults)
	})
	switch {
	case !began:
		return k < lastMeant()
	case !ended:
		t.Fatal("libnettest: a scenario of Sweep must not call t.Parallel")
	case reached && k == maxSweep:
		t.Fatalf("libnettest: the scenario makes more than %d calls of %v", maxSweep, op)
	}
	return reached
}

// lastMeant is up to which call the cases are tried that -run leaves out: the last number in its pattern, or some,
// which takes a moment.
func lastMeant() int {
	last := 1000
	pattern := flag.Lookup("test.run")
	if pattern == nil {
		return last
	}
	for _, digits := range strings.FieldsFunc(pattern.Value.String(), func(r rune) bool { return r < '0' || r > '9' }) {
		if n, err := strconv.Atoi(digits); err == nil {
			last = max(last, min(n, maxSweep))
		}
	}
	return last
}
