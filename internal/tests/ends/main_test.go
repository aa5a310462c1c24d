// Package ends has the table of how sessions end, see docs/ends.md, and tests of peers that half-close while there is
// much to send.
package ends

import (
	"testing"

	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// No test may leave a goroutine behind.
func TestMain(m *testing.M) {
	testkit.AtATime(16)
	libnettest.VerifyMain(m)
}
