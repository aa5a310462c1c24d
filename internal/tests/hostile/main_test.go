// Package hostile tests libnet against user code that does what it can to take a server down: one table of every
// callback, interface and conn method through which libnet calls a user, each made to misbehave in every way that
// its signature allows, in every mode and over every transport where it is called:
//
//	go test ./internal/tests/hostile          the modes over WebSocket take turns
//	go test ./internal/tests/hostile -all     each row in all modes, which takes half as long again
package hostile

import (
	"testing"

	"github.com/libnet-go/libnet/internal/testkit"
)

// No row may leave a goroutine behind.
func TestMain(m *testing.M) {
	if testkit.Race { // which makes of waiting rows busy ones
		testkit.AtATime(16)
	} else {
		testkit.AtATime(32)
	}
	testkit.SuiteMain(m)
}
