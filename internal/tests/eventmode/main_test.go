// Package eventmode tests that what a peer sees does not depend on how a server calls its handler: on a goroutine a
// session, or for each message that has arrived; and what is special to the latter.
package eventmode

import (
	"testing"

	"github.com/libnet-go/libnet/internal/testkit"
)

// No test may leave a goroutine behind.
func TestMain(m *testing.M) {
	testkit.AtATime(4)
	testkit.SuiteMain(m)
}
