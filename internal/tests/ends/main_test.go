// Package ends has the table of how sessions end: see docs/ends.md.
package ends

import (
	"testing"

	"github.com/libnet-go/libnet/internal/testkit"
)

func TestMain(m *testing.M) { testkit.SuiteMain(m) }
