package libnettest

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"unicode"

	"github.com/libnet-go/libnet/internal/lock"
)

// An Op is a kind of call on a [FaultConn].
type Op int

// The calls that can fail. OpSetDeadline is each of the three that set deadlines.
const (
	OpRead Op = iota
	OpWrite
	OpCloseWrite
	OpClose
	OpSetDeadline
)

func (op Op) String() string {
	names := [...]string{"Read", "Write", "CloseWrite", "Close", "SetDeadline"}
	if op < 0 || int(op) >= len(names) {
		return fmt.Sprintf("Op(%d)", int(op))
	}
	return names[op]
}

// A Fault is what a call does in place of its work. A Read or Write first moves N bytes, or fewer if
// it was asked for fewer; then it panics, or blocks, or returns Err. Err may be nil: that is a short
// read, which is legal, or a short write without an error, which is not and which a caller must notice.
//
// CloseWrite and Close do their work and then panic or return Err. SetDeadline does nothing but
// panic or return Err.
type Fault struct {
	N     int
	Err   error
	Block bool // a Read or Write waits until its deadline or until the FaultConn is closed
	Panic any  // the value to panic with
}

// String names the fault as Sweep's subtests do, such as "1 byte, then block".
func (f Fault) String() string {
	var words []string
	switch {
	case f.N == 1:
		words = append(words, "1 byte")
	case f.N > 1:
		words = append(words, fmt.Sprintf("%d bytes", f.N))
	}
	switch {
	case f.Panic != nil:
		words = append(words, "panic")
	case f.Block:
		words = append(words, "block")
	case f.Err != nil:
		words = append(words, addressable(f.Err))
	default:
		words = append(words, "no error")
	}
	return strings.Join(words, ", then ")
}

// addressable is an error's text as a part of a test's name that stays the same, and that go test -run takes as it
// is: without the addresses that errors of package net begin with, and without what means something in a pattern.
func addressable(err error) string {
	const most = 100 // of an error that wraps itself, too
	for range most {
		if cause := errors.Unwrap(err); cause != nil {
			err = cause
		}
	}
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == ',' || r == ':' || r == '-' || unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return '_'
	}, err.Error())
}

// Faults says which calls fail, and counts the calls. The zero value lets every call work. One
// Faults may serve several conns: its numbers then run over all of their calls. Its methods may be
// called by any goroutine.
type Faults struct {
	mu     lock.Mutex[faultsLock] // guards the following
	calls  map[Op]int
	faults map[Op]map[int]Fault
}

// Fail makes the k-th call of op fail, from 1. It panics for a fault that can never happen: in a call before the
// first, of an op that there is not, of fewer than no bytes; and only Read and Write can block and move bytes.
func (f *Faults) Fail(op Op, k int, fault Fault) {
	switch {
	case op < OpRead || op > OpSetDeadline:
		panic(fmt.Sprintf("libnettest: there is no %v", op))
	case k < 1:
		panic(fmt.Sprintf("libnettest: the first %v is number 1, and there is no %d", op, k))
	case fault.N < 0:
		panic(fmt.Sprintf("libnettest: %v cannot move %d bytes", op, fault.N))
	case op != OpRead && op != OpWrite && (fault.Block || fault.N != 0):
		panic(fmt.Sprintf("libnettest: %v can neither block nor move bytes", op))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.faults == nil {
		f.faults = make(map[Op]map[int]Fault)
	}
	if f.faults[op] == nil {
		f.faults[op] = make(map[int]Fault)
	}
	f.faults[op][k] = fault
}

// Calls returns how many calls of op there were, those that failed and those under way included.
func (f *Faults) Calls(op Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[op]
}

// Wrap returns a conn that works as conn does but for the faults.
func (f *Faults) Wrap(conn net.Conn) *FaultConn {
	return &FaultConn{conn: conn, faults: f}
}

// next counts a call and returns its fault.
func (f *Faults) next(op Op) (fault Fault, fails bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.calls == nil {
		f.calls = make(map[Op]int)
	}
	f.calls[op]++
	fault, fails = f.faults[op][f.calls[op]]
	return fault, fails
}
