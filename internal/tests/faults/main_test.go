// Package faults tests what libnet promises when something goes wrong. The tests called Test<letter><number>… are rows
// of docs/faults.md; the letter is the kind: A what comes over the wire, B what a peer does, C the machine, D races, E
// shutdown, F misuse, G attacks. They run at the size of .ci/run, or at their full one:
//
//	go test ./internal/tests/faults -full
package faults

import (
	"testing"

	"github.com/libnet-go/libnet/internal/testkit"
)

// No test may leave a goroutine behind.
func TestMain(m *testing.M) {
	testkit.AtATime(4)
	testkit.SuiteMain(m)
}
