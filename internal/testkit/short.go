package testkit

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/libnet-go/libnet/libnettest"
)

// go test -short is for the minute between two changes: it leaves out what waits for seconds, and those suites of
// internal/tests that take many.

// Slow skips a test that takes seconds.
func Slow(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes seconds")
	}
}

// SuiteMain is the TestMain of a suite all of which -short leaves out.
func SuiteMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("left out by -short")
		os.Exit(0)
	}
	libnettest.VerifyMain(m)
}
