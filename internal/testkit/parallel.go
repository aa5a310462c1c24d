package testkit

import (
	"flag"
	"runtime"
	"strconv"
)

// AtATime has n parallel tests for each processor run at a time, instead of one, unless -parallel says how many: for a
// TestMain of tests that mostly wait.
func AtATime(n int) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", strconv.Itoa(n*runtime.GOMAXPROCS(0)))
	}
}
