package libnettest

import (
	"fmt"
	"syscall"
	"testing"
)

// maxSweep bounds a sweep over a scenario that makes more calls the longer it runs.
const maxSweep = 10_000

// SingleFaults returns the ways in which a Read or Write can go wrong: an error, an error after a
// byte, a byte less without a word, and blocking before and after a byte. A panic is not among them,
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
// The scenario must set its own bounds on waiting, or run in a synctest bubble, which finds what
// would wait for ever.
func Sweep(t *testing.T, op Op, kinds []Fault, scenario func(t *testing.T, faults *Faults)) {
	t.Helper()
	for _, kind := range kinds {
		for k := 1; ; k++ {
			if k > maxSweep {
				t.Fatalf("libnettest: the scenario makes more than %d calls of %v", maxSweep, op)
			}
			reached := true // also when -run leaves this subtest out: a later one may be meant
			t.Run(fmt.Sprintf("%v %d: %v", op, k, kind), func(t *testing.T) {
				faults := &Faults{}
				faults.Fail(op, k, kind)
				defer func() { reached = faults.Calls(op) >= k }() // also when the scenario fails at once
				scenario(t, faults)
			})
			if !reached {
				break
			}
		}
	}
}
