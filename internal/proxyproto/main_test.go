package proxyproto_test

import (
	"testing"

	"github.com/libnet-go/libnet/libnettest"
)

// No test may leave a goroutine behind.
func TestMain(m *testing.M) { libnettest.VerifyMain(m) }
