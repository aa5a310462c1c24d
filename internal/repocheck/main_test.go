// Package repocheck has the tests of the repository itself: that its documents say what its code does.
package repocheck

import (
	"testing"

	"github.com/libnet-go/libnet/libnettest"
)

func TestMain(m *testing.M) { libnettest.VerifyMain(m) }
