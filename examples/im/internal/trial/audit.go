package trial

import (
	"fmt"
	"slices"
	"time"
)

// An Audit compares what was acknowledged with what was heard.
type Audit struct {
	Acked                   int   // messages
	Due                     int   // how often those should be heard: one to a group several times
	Lost, Twice, Disordered int   // of what was or should have been heard
	Failed                  error // a message that was not acknowledged in the end
}

// OK says whether everything was heard in order and once.
func (a Audit) OK() bool {
	return a.Acked > 0 && a.Lost == 0 && a.Twice == 0 && a.Disordered == 0 && a.Failed == nil
}

func (a Audit) String() string {
	text := fmt.Sprintf("%s messages acknowledged, %s deliveries: %s lost, %s twice, %s out of order",
		Thousands(a.Acked), Thousands(a.Due), Thousands(a.Lost), Thousands(a.Twice), Thousands(a.Disordered))
	if a.Failed != nil {
		text += fmt.Sprintf("; failed: %v", a.Failed)
	}
	return text
}

// Plus is the audit of two talks.
func (a Audit) Plus(b Audit) Audit {
	a.Acked += b.Acked
	a.Due += b.Due
	a.Lost += b.Lost
	a.Twice += b.Twice
	a.Disordered += b.Disordered
	if a.Failed == nil {
		a.Failed = b.Failed
	}
	return a
}

// Audit compares the records as they are now.
func (t *Talk) Audit() Audit {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := Audit{Acked: len(t.acks), Failed: t.failed}
	for p, numbers := range t.acked {
		a.Due += len(numbers)
		a.Lost += lost(numbers, t.heard[p])
	}
	for _, numbers := range t.heard {
		twice, disordered := countUnruly(numbers)
		a.Twice += twice
		a.Disordered += disordered
	}
	return a
}

// lost counts the acknowledged numbers that were not heard.
func lost(acked, heard []int) (n int) {
	known := make(map[int]bool, len(heard))
	for _, number := range heard {
		known[number] = true
	}
	for _, number := range acked {
		if !known[number] {
			n++
		}
	}
	return n
}

// countUnruly counts, of the numbers of one sender, those that were heard before and those that are older than one
// before them.
func countUnruly(heard []int) (twice, disordered int) {
	known := make(map[int]bool, len(heard))
	newest := -1
	for _, number := range heard {
		switch {
		case known[number]:
			twice++
		case number < newest:
			disordered++
		}
		known[number] = true
		newest = max(newest, number)
	}
	return twice, disordered
}

// Percentiles returns the 50th and the 99th; it sorts the durations.
func Percentiles(durations []time.Duration) (p50, p99 time.Duration) {
	if len(durations) == 0 {
		return 0, 0
	}
	slices.Sort(durations)
	n := len(durations)
	return durations[n/2], durations[n*99/100]
}
