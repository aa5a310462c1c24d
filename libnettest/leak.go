package libnettest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// leakGrace is how long the checks wait for what is still ending.
const leakGrace = 2 * time.Second

// VerifyMain runs the tests of a package, and fails the run when a goroutine is left after them that
// belongs neither to the runtime nor to package testing nor to package initialization. It waits up
// to 2 s for goroutines to end, beside the time that it takes to look at them, prints the stacks of those that stay,
// and ends the process:
//
//	func TestMain(m *testing.M) { libnettest.VerifyMain(m) }
func VerifyMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if left := poll(func() []string { return leftGoroutines(nil) }); len(left) > 0 {
			fmt.Fprint(os.Stderr, leakReport("all tests passed, but left", left))
			code = 1
		}
	}
	os.Exit(code)
}

// VerifyNone fails t when the test leaves a goroutine or, on Linux, a file descriptor behind. Call it
// first in a test: the check itself runs when the test and the cleanups registered after this call
// have ended, and waits up to 2 s for what is still ending. What existed before the call is not
// counted, except for goroutines that the test itself had started. A test that has failed already
// is not checked. Do not use it while other tests run in parallel: their goroutines count.
func VerifyNone(t testing.TB) {
	t.Helper()
	known := make(map[string]bool)
	self, others := goroutines()
	known[self.id] = true
	for _, g := range others {
		known[g.id] = g.parent != self.id
	}
	before := descriptors()

	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		t.Helper()
		left := poll(func() []string { return append(leftGoroutines(known), leftDescriptors(before)...) })
		if len(left) > 0 {
			t.Error(leakReport("the test left", left))
		}
	})
}

// poll calls list until it returns nothing or leakGrace is over, and returns what it returned last. Only the pauses
// count: while list looks at goroutines they stand still, and with 40,000 of them a look takes seconds. A pause is at
// least as long as the look before, so that what is ending has half of the time.
func poll(list func() []string) []string {
	pause := time.Millisecond
	for waited := time.Duration(0); ; waited += pause {
		began := time.Now()
		left := list()
		if len(left) == 0 || waited >= leakGrace {
			return left
		}
		pause = max(min(2*pause, 50*time.Millisecond), time.Since(began))
		time.Sleep(pause)
	}
}

func leftGoroutines(known map[string]bool) []string {
	var left []string
	_, others := goroutines()
	for _, g := range others {
		if !known[g.id] && !g.isOfProcess() {
			left = append(left, g.stack)
		}
	}
	return left
}

// descriptors maps each open file descriptor to what it refers to. It is empty where the system has
// no /proc/self/fd.
func descriptors() map[string]string {
	const dir = "/proc/self/fd"
	open := make(map[string]string)
	entries, _ := os.ReadDir(dir)
	for _, entry := range entries {
		target, err := os.Readlink(filepath.Join(dir, entry.Name()))
		if err == nil { // else it was ReadDir's own
			open[entry.Name()] = target
		}
	}
	return open
}

// leftDescriptors leaves out the two of the runtime's poller, which the first socket opens for good.
func leftDescriptors(before map[string]string) []string {
	var left []string
	onlyPipes := true
	for fd, target := range descriptors() {
		if before[fd] == target || target == "anon_inode:[eventpoll]" || target == "anon_inode:[eventfd]" {
			continue
		}
		left = append(left, "file descriptor "+fd+": "+target)
		onlyPipes = onlyPipes && strings.HasPrefix(target, "pipe:")
	}
	if onlyPipes && len(left) > 0 {
		runtime.GC() // io.Copy between sockets keeps its splice pipes in a sync.Pool, which two collections empty
	}
	return left
}

func leakReport(start string, left []string) string {
	return fmt.Sprintf("libnettest: %s %d behind:\n\n%s\n", start, len(left), strings.Join(left, "\n\n"))
}
