//go:build lockcheck && !schedules

package lock

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// reports has what failed was told during f.
func reports(t *testing.T, f func()) (all []string) {
	t.Helper()
	was := failed
	failed = func(report string) { all = append(all, report) }
	defer func() { failed = was }()
	f()
	return all
}

// under locks outer, calls f, and unlocks.
func under(outer sync.Locker, f func()) {
	outer.Lock()
	defer outer.Unlock()
	f()
}

// take locks and unlocks.
func take(l sync.Locker) { under(l, func() {}) }

func TestTwoLocksTakenBothWaysAreReportedWithBothStacks(t *testing.T) {
	type first struct{}
	type second struct{}
	var a Mutex[first]
	var b Mutex[second]
	got := reports(t, func() {
		under(&a, func() { take(&b) })
		under(&a, func() { take(&b) })
		under(&b, func() { takeTheOtherWay(&a) })
	})
	if len(got) != 1 {
		t.Fatalf("%d reports", len(got))
	}
	for _, part := range []string{
		"lock.first under lock.second, now:", "lock.takeTheOtherWay",
		"lock.second under lock.first, when it first was:", "lock.take",
	} {
		if !strings.Contains(got[0], part) {
			t.Errorf("no %q in:\n%s", part, got[0])
		}
	}
}

func takeTheOtherWay(l sync.Locker) { take(l) }

func TestACycleOfThreeClassesOverThreeGoroutinesIsReported(t *testing.T) {
	type first struct{}
	type second struct{}
	type third struct{}
	var a Mutex[first]
	var b Mutex[second]
	var c Mutex[third]
	got := reports(t, func() {
		for _, f := range []func(){
			func() { under(&a, func() { take(&b) }) },
			func() { under(&b, func() { take(&c) }) },
			func() { under(&c, func() { take(&a) }) },
		} {
			var wg sync.WaitGroup
			wg.Go(f)
			wg.Wait()
		}
	})
	if len(got) != 1 || strings.Count(got[0], "when it first was") != 2 {
		t.Errorf("reports: %q", got)
	}
}

func TestLocksTakenInOneOrderAreNotReported(t *testing.T) {
	type first struct{}
	type second struct{}
	type third struct{}
	var a Mutex[first]
	var b Mutex[second]
	var c RWMutex[third]
	got := reports(t, func() {
		under(&a, func() { under(&b, func() { take(&c) }) })
		under(&a, func() { take(&c) })
		under(&b, func() { take(&c) })
		a.Lock()
		b.Lock()
		a.Unlock() // not the last that was taken
		under(&c, b.Unlock)
		take(&a)
	})
	if len(got) != 0 {
		t.Errorf("reports: %q", got)
	}
}

func TestTwoLocksOfOneClassAreReported(t *testing.T) {
	type one struct{}
	var a, b Mutex[one]
	got := reports(t, func() { under(&a, func() { take(&b) }) })
	if len(got) != 1 || !strings.Contains(got[0], "lock.one under lock.one") {
		t.Errorf("reports: %q", got)
	}
}

func TestALockThatItsHolderTakesAgainIsReportedBeforeItWaits(t *testing.T) {
	type one struct{}
	var read RWMutex[one]
	got := reports(t, func() {
		read.RLock()
		defer read.RUnlock()
		read.RLock() // a writer between the two would wait for the first, and the second for the writer
		defer read.RUnlock()
	})
	if len(got) != 1 || !strings.Contains(got[0], "locked again") {
		t.Errorf("reports: %q", got)
	}
}

func TestTryLockMayBeCalledInAnyOrderAndWhatIsTakenUnderItCounts(t *testing.T) {
	type first struct{}
	type second struct{}
	var a Mutex[first]
	var b Mutex[second]
	got := reports(t, func() {
		under(&a, func() { take(&b) })
		under(&b, func() {
			if !a.TryLock() {
				t.Error("a free lock was not taken")
				return
			}
			if a.TryLock() {
				t.Error("a lock was taken twice")
			}
			a.Unlock()
		})
	})
	if len(got) != 0 {
		t.Errorf("TryLock: %q", got)
	}
	got = reports(t, func() {
		if b.TryLock() {
			take(&a)
			b.Unlock()
		}
	})
	if len(got) != 1 {
		t.Errorf("a Lock under a TryLock: %q", got)
	}
}

func TestReadersHaveAnOrderToo(t *testing.T) {
	type first struct{}
	type second struct{}
	var a RWMutex[first]
	var b Mutex[second]
	got := reports(t, func() {
		a.RLock()
		take(&b)
		a.RUnlock()
		under(&b, func() {
			a.RLock()
			defer a.RUnlock()
		})
		if a.TryLock() {
			a.Unlock()
		}
	})
	if len(got) != 1 {
		t.Errorf("reports: %q", got)
	}
}

func TestALockThatAnotherGoroutineReleasesIsHeldByNobody(t *testing.T) {
	type first struct{}
	type second struct{}
	var a Mutex[first]
	var b Mutex[second]
	got := reports(t, func() {
		a.Lock()
		var wg sync.WaitGroup
		wg.Go(a.Unlock)
		wg.Wait()
		take(&b)
		under(&b, func() { take(&a) })
	})
	if len(got) != 0 {
		t.Errorf("reports: %q", got)
	}
	for _, held := range order.held {
		if len(held) > 0 {
			t.Errorf("still held: %v", held)
		}
	}
}

func TestTheProcessEndsAtTheFirstReport(t *testing.T) {
	type first struct{}
	type second struct{}
	if os.Getenv("LOCKCHECK_CHILD") != "" {
		var a Mutex[first]
		var b Mutex[second]
		defer func() { _ = recover() }()
		under(&a, func() { take(&b) })
		under(&b, func() { take(&a) })
		return
	}
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), "LOCKCHECK_CHILD=1")
	output, err := child.CombinedOutput()
	if child.ProcessState.ExitCode() != 2 || !strings.Contains(string(output), "locks are taken in no order") {
		t.Errorf("%v:\n%s", err, output)
	}
}
