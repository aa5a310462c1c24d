// Package faults tests what libnet promises when something goes wrong. The tests called Test<letter><number>… are rows of
// one table of faults; the letter is the kind: A what comes over the wire, B what a peer does, C the machine, D races,
// E shutdown, F misuse, G attacks. With -full they run at their full size instead of that of .ci/run.
package faults

import (
	"testing"

	"github.com/libnet-go/libnet/libnettest"
)

// No test may leave a goroutine behind.
func TestMain(m *testing.M) { libnettest.VerifyMain(m) }
