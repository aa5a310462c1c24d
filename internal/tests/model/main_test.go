// Package model tests a session against descriptions of it that are simpler than it is: a model that does the same
// operations, and the accounts that must balance whichever call on a connection fails.
package model

import (
	"testing"

	"github.com/libnet-go/libnet/internal/testkit"
)

// No test may leave a goroutine behind.
func TestMain(m *testing.M) { testkit.SuiteMain(m) }
