// Package usercode tests sessions, broadcasts and dials whose codec, conn, logger or message blocks, panics, ends its
// goroutine or calls back at a moment that has to be chosen. Package hostile has a table of every call and every way
// instead, at no chosen moment.
package usercode

import (
	"testing"

	"github.com/libnet-go/libnet/libnettest"
)

// No test may leave a goroutine behind.
func TestMain(m *testing.M) { libnettest.VerifyMain(m) }
