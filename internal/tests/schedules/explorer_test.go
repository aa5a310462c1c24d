//go:build schedules

package schedules

import (
	"runtime"
	"testing"
	"time"

	"github.com/libnet-go/libnet/internal/lock"
)

// finds runs p under all schedules with at most so many preemptions, and wants one of them to fail.
func finds(t *testing.T, preemptions int, p program) (s schedule) {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	if runs, _, fault := p.exhaust(t, preemptions-1); fault != "" {
		t.Fatalf("a schedule with %d preemptions, run %d, fails: %s", preemptions-1, runs, fault)
	}
	runs, s, fault := p.exhaust(t, preemptions)
	if fault == "" {
		t.Fatalf("none of %d schedules fails", runs)
	}
	if again := p.run(t, &follower{schedule: s, beyond: first}, nil); again != fault {
		t.Errorf("the schedule %v first fails with %q, then with %q", s, fault, again)
	}
	return s
}

// together runs fs as actors; what is left of them after a minute has lost its way.
func together(s *scheduler, fs ...func()) (fault string) {
	left := len(fs)
	for i, f := range fs {
		go func() {
			s.actor(string(rune('a' + i)))
			defer s.gone()
			f()
			left--
		}()
	}
	done := func() bool { return left == 0 }
	if s.run(time.Minute, done, func() {}) {
		return ""
	}
	fault = s.waiting()
	s.abandon()
	return fault
}

type firstLock struct{}
type secondLock struct{}

func TestTheExplorerFindsLocksThatAreTakenInTwoOrders(t *testing.T) {
	finds(t, 1, func(s *scheduler) string {
		var a lock.Mutex[firstLock]
		var b lock.Mutex[secondLock]
		return together(s,
			func() { a.Lock(); defer a.Unlock(); b.Lock(); defer b.Unlock() },
			func() { b.Lock(); defer b.Unlock(); a.Lock(); defer a.Unlock() },
		)
	})
}

func TestTheExplorerFindsALostUpdate(t *testing.T) {
	finds(t, 1, func(s *scheduler) (fault string) {
		var mu lock.Mutex[firstLock]
		n := 0
		read := func() int { mu.Lock(); defer mu.Unlock(); return n }
		write := func(v int) { mu.Lock(); defer mu.Unlock(); n = v }
		add := func() { write(read() + 1) }
		if fault = together(s, add, add); fault == "" && n != 2 {
			fault = "an update was lost"
		}
		return fault
	})
}

// Whoever waits looks first and registers then: what happens in between does not wake it.
func TestTheExplorerFindsAWakeUpThatIsMissed(t *testing.T) {
	finds(t, 1, func(s *scheduler) (fault string) {
		var mu lock.Mutex[firstLock]
		ready, waiting := false, (chan struct{})(nil)
		giveUp := make(chan struct{})
		look := func() bool { mu.Lock(); defer mu.Unlock(); return ready }
		register := func() chan struct{} { mu.Lock(); defer mu.Unlock(); waiting = make(chan struct{}); return waiting }
		fault = together(s,
			func() {
				if !look() {
					select {
					case <-register():
					case <-giveUp:
					}
				}
			},
			func() {
				mu.Lock()
				defer mu.Unlock()
				if ready = true; waiting != nil {
					close(waiting)
				}
			},
		)
		close(giveUp)
		return fault
	})
}

// The first holds the lock until the second has it, too.
func TestReadersOfALockGoOnTogether(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	p := program(func(s *scheduler) string {
		var mu lock.RWMutex[firstLock]
		inside := make(chan struct{})
		return together(s,
			func() { mu.RLock(); defer mu.RUnlock(); <-inside },
			func() { mu.RLock(); defer mu.RUnlock(); close(inside) },
		)
	})
	if _, s, fault := p.exhaust(t, 2); fault != "" {
		t.Errorf("%v: %s", s, fault)
	}
}

func TestASchedulesTextIsTheSchedule(t *testing.T) {
	for _, text := range []string{"coarse", "fine 0:2", "coarse 3:1 17:2"} {
		if s, err := parseSchedule(text); err != nil || s.String() != text {
			t.Errorf("%q became %q, %v", text, s, err)
		}
	}
	for _, text := range []string{"", "3:1", "coarse 3:1 2:1", "fine 3", "fine x:1"} {
		if s, err := parseSchedule(text); err == nil {
			t.Errorf("%q became %q", text, s)
		}
	}
}

// A tree of two choices for each of three points, at which going on is option 0: with k preemptions there are as many
// schedules as ways to choose at most k points of three.
func TestNextGoesThroughAllSchedulesWithinTheBound(t *testing.T) {
	for preemptions, want := range []int{1, 4, 7, 8} {
		seen := make(map[string]bool)
		for s, ok := (schedule{}), true; ok; {
			points := make([]point, 3)
			for i := range points {
				points[i] = point{options: 2, running: true}
				if i < len(s.choices) {
					points[i].option = s.choices[i]
				}
			}
			seen[s.String()] = true
			s, ok = next(points, preemptions)
		}
		if len(seen) != want {
			t.Errorf("%d preemptions: %d schedules; want %d", preemptions, len(seen), want)
		}
	}
}
