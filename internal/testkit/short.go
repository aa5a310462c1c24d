package testkit

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/libnet-go/libnet/libnettest"
)

// go test -short is for the minute between two changes: it leaves out what waits for seconds, and the suites of internal/tests.

// Slow skips a test that takes seconds.
func Slow(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes seconds")
	}
}

// SuiteMain is the TestMain of a suite that takes many.
func SuiteMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("left out by -short")
		os.Exit(0)
	}
	libnettest.VerifyMain(m)
}
