package faults

import (
	"testing"

	"github.com/libnet-go/libnet/internal/testkit"
)

// soon is how long tests on real sockets, and of other processes, wait for what takes milliseconds when the machine
// has nothing else to do. Nothing is asserted to take so long.
const soon = 2 * testkit.Patience

func wait(t testing.TB, c <-chan struct{}, what string) {
	t.Helper()
	testkit.Await(t, soon, what, c)
}
