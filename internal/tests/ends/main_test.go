// Package ends has the table of how sessions end: see docs/ends.md.
package ends

import (
	"testing"

	"github.com/libnet-go/libnet/libnettest"
)

func TestMain(m *testing.M) { libnettest.VerifyMain(m) }
