package imtest

import (
	"flag"
	"strconv"
	"testing"

	"github.com/libnet-go/libnet/libnettest"
)

// waiting is how many tests run at once that wait for leases, elections and outages: many more than there are
// processors, for which package testing would have them wait in line.
const waiting = 8

// WaitingMain is libnettest.VerifyMain for tests that wait more than they work. A -parallel of the command line's that
// is larger stays.
func WaitingMain(m *testing.M) {
	flag.Parse()
	if atOnce := flag.Lookup("test.parallel"); atOnce != nil {
		if n, err := strconv.Atoi(atOnce.Value.String()); err == nil && n < waiting {
			_ = flag.Set("test.parallel", strconv.Itoa(waiting))
		}
	}
	libnettest.VerifyMain(m)
}
