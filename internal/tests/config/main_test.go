// Package config tests every number that a user can set at its extremes: zero, negative, a nanosecond, what the kernel
// and an int can hold and one more. Either an echo works with it, or the value is refused in words, or the session ends
// for the reason that the value asks for, and is counted so. Nothing overflows, spins, or keeps a shutdown.
package config

import (
	"testing"

	"github.com/libnet-go/libnet/internal/testkit"
)

func TestMain(m *testing.M) { testkit.SuiteMain(m) }
