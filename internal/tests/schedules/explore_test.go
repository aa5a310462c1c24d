//go:build schedules

package schedules

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/libnet-go/libnet/internal/lock"
)

var (
	replay = flag.String("replay", "", "the `schedule` to run, as a failure printed it")
	deeper = flag.Int("deeper", 0, "how many preemptions more than a scenario's bound to allow")
	random = flag.Int("random", 300, "how many random schedules of a scenario to run")
)

// A program is what runs under a scheduler, in a bubble of its own each time. It returns what is wrong.
type program func(*scheduler) (fault string)

// explore runs a scenario's schedules until one fails.
func explore(t *testing.T, sc scenario) {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // then goroutines come to yield points in one order
	p := program(sc.play)
	if *replay != "" {
		s, err := parseSchedule(*replay)
		if err != nil {
			t.Fatal(err)
		}
		p.report(t, s)
		return
	}
	total := 0
	for preemptions := range sc.bound + *deeper + 1 {
		runs, s, fault := p.exhaust(t, preemptions)
		if fault != "" {
			t.Errorf("%d preemptions, run %d: %s", preemptions, runs, fault)
			p.report(t, s)
			return
		}
		total += runs
		t.Logf("all schedules with %d preemptions at most: %d", preemptions, runs)
	}
	if s, fault := p.wander(t); fault != "" {
		t.Errorf("a random schedule: %s", fault)
		p.report(t, s)
		return
	}
	t.Logf("%d runs, and %d with random choices", total, *random)
}

// exhaust runs all schedules with at most so many preemptions, or until one fails: the last.
func (p program) exhaust(t *testing.T, preemptions int) (runs int, s schedule, fault string) {
	t.Helper()
	var before []point
	for more := true; more; {
		f := &follower{schedule: s, beyond: first}
		fault = p.run(t, f, nil)
		if fault == "" {
			fault = diverged(before, f.points, len(s.choices)-1)
		}
		if runs++; fault != "" {
			return runs, schedule{choices: f.chosen()}, fault
		}
		before = f.points
		s, more = next(f.points, preemptions)
	}
	return runs, s, ""
}

// wander runs random schedules. A goroutine that could go on mostly does.
func (p program) wander(t *testing.T) (s schedule, fault string) {
	const oneIn = 4
	for seed := range uint64(*random) {
		r := rand.New(rand.NewPCG(seed, 0))
		f := &follower{schedule: schedule{fine: true}, beyond: func(options int, running bool) int {
			if running && r.IntN(oneIn) > 0 {
				return 0
			}
			return r.IntN(options)
		}}
		if fault := p.run(t, f, nil); fault != "" {
			return schedule{true, f.chosen()}, fault
		}
	}
	return s, ""
}

// report runs a schedule again and prints its steps.
func (p program) report(t *testing.T, s schedule) {
	t.Helper()
	var steps strings.Builder
	fault := p.run(t, &follower{schedule: s, beyond: first}, func(line string) { fmt.Fprintln(&steps, "\t"+line) })
	t.Logf("-replay '%v'\n%s", s, steps.String())
	if fault != "" {
		t.Error(fault)
	}
}

// run runs p once and returns what is wrong.
func (p program) run(t *testing.T, f *follower, trace func(string)) (fault string) {
	defer func() {
		lock.Yield = nil
		if r := recover(); r != nil && fault == "" { // synctest tells of goroutines that are left
			fault = fmt.Sprint(r)
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		s := newScheduler(f.choose)
		s.fine, s.trace = f.schedule.fine, trace
		lock.Yield = s.yield
		fault = p(s)
	})
	return fault
}
