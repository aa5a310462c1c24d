//go:build schedules

package schedules

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet/internal/lock"
)

// quiet are classes of locks under which nothing is decided that another goroutine could meet half done: the
// scheduler is asked only when one is taken.
var quiet = []string{"chunksLock", "groupLock", "logLock", "resultLock", "serverLock", "shardLock", "signalLock"}

// A scheduler lets one goroutine of a bubble go on at a time, from one yield point to the next. The goroutine
// that made it runs it, and is never stopped itself.
type scheduler struct {
	self   uintptr
	chosen func(options []*thread, running bool) int // running: the first option is who went on last
	fine   bool                                      // releasing a lock is a yield point
	trace  func(line string)                         // nil: none

	arrived chan struct{} // one element: somebody has come to a yield point
	last    uintptr       // who went on last

	mu sync.Mutex
	// mu guards the following.
	names     map[uintptr]string // of actors
	parked    []*thread
	arrivals  int
	abandoned bool
}

// A thread is a goroutine that waits at a yield point.
type thread struct {
	id      uintptr
	name    string
	point   string
	arrival int
	ready   func() bool
	resume  chan struct{}
}

func (t *thread) String() string { return t.name + ": " + t.point }

func newScheduler(chosen func([]*thread, bool) int) *scheduler {
	return &scheduler{
		self:    lock.Goroutine(),
		chosen:  chosen,
		arrived: make(chan struct{}, 1),
		names:   make(map[uintptr]string),
	}
}

func always() bool { return true }

// actor names the caller.
func (s *scheduler) actor(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names[lock.Goroutine()] = name
}

// gone forgets the caller's name.
func (s *scheduler) gone() {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.names, lock.Goroutine())
}

// yield is lock.Yield.
func (s *scheduler) yield(op, class string, ready func() bool) {
	id := lock.Goroutine()
	switch {
	case id == s.self && !ready():
		panic("the scheduler would have to wait for a " + class)
	case id == s.self:
		return
	case (strings.HasSuffix(op, "unlock") && !s.fine || slices.Contains(quiet, class)) && ready():
		return
	}
	t := &thread{id: id, point: strings.TrimSpace(op + " " + class), ready: ready, resume: make(chan struct{})}
	if s.park(t) {
		select {
		case s.arrived <- struct{}{}:
		default:
		}
		<-t.resume
	}
	if s.isAbandoned() && !ready() {
		runtime.Goexit()
	}
}

func (s *scheduler) park(t *thread) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.abandoned {
		return false
	}
	if t.name = s.names[t.id]; t.name == "" {
		t.name = rootFunction()
	}
	s.arrivals++
	t.arrival = s.arrivals
	s.parked = append(s.parked, t)
	return true
}

// rootFunction is what the caller's goroutine was started with.
func rootFunction() string {
	var pcs [64]uintptr
	n := runtime.Callers(0, pcs[:])
	if n < 2 || n == len(pcs) {
		return "?"
	}
	f, _ := runtime.CallersFrames(pcs[n-2 : n-1]).Next() // below it is only runtime.goexit
	return f.Function[strings.LastIndexByte(f.Function, '/')+1:]
}

// run lets goroutines go on until done returns true when none can, or until nothing has happened for the
// given time. idle is called whenever time is about to pass.
func (s *scheduler) run(within time.Duration, done func() bool, idle func()) bool {
	end := time.Now().Add(within)
	for {
		synctest.Wait()
		if s.step() {
			continue
		}
		if done() {
			return true
		}
		idle()
		if !s.letTimePass(time.Until(end)) {
			return done()
		}
	}
}

// step lets one goroutine go on; false if none can. All goroutines wait.
func (s *scheduler) step() bool {
	options, running := s.options()
	if len(options) == 0 {
		return false
	}
	t := options[0]
	if len(options) > 1 {
		t = options[s.chosen(options, running)]
	}
	if s.trace != nil {
		s.trace(t.String())
	}
	s.last = t.id
	s.remove(t)
	close(t.resume)
	return true
}

// options lists who can go on: first who went on last, if it can, then by name and point. The order of arrivals is the
// runtime's, which takes the turn from a goroutine where the machine is busy: it decides only between equals.
func (s *scheduler) options() (options []*thread, running bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.parked {
		if t.ready() {
			options = append(options, t)
			running = running || t.id == s.last
		}
	}
	slices.SortFunc(options, func(a, b *thread) int {
		switch {
		case a.id == s.last:
			return -1
		case b.id == s.last:
			return 1
		}
		return cmp.Or(strings.Compare(a.String(), b.String()), a.arrival-b.arrival)
	})
	return options, running
}

func (s *scheduler) remove(t *thread) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parked = slices.DeleteFunc(s.parked, func(p *thread) bool { return p == t })
}

// letTimePass waits until a timer or a deadline brings somebody to a yield point.
func (s *scheduler) letTimePass(most time.Duration) bool {
	bound := time.NewTimer(most)
	defer bound.Stop()
	select {
	case <-s.arrived: // it may have been here before
		return true
	case <-bound.C:
		return false
	}
}

// abandon lets all go on as they like. Who waits for a lock that is held ends.
func (s *scheduler) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.abandoned = true
	for _, t := range s.parked {
		close(t.resume)
	}
	s.parked = nil
}

func (s *scheduler) isAbandoned() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.abandoned
}

// waiting says who waits for what, for a report.
func (s *scheduler) waiting() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.parked) == 0 {
		return "nobody is at a yield point"
	}
	return fmt.Sprintf("waiting: %v", s.parked)
}
