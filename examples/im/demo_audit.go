package main

import (
	"fmt"
	"slices"
	"time"
)

// An audit compares what was acknowledged with what was heard.
type audit struct {
	acked                   int // messages
	due                     int // how often those should be heard: one to a group several times
	lost, twice, disordered int // of what was or should have been heard
	failed                  error
}

// ok says whether everything was heard in order and once.
func (a audit) ok() bool {
	return a.acked > 0 && a.lost == 0 && a.twice == 0 && a.disordered == 0 && a.failed == nil
}

func (a audit) String() string {
	text := fmt.Sprintf("%s messages acknowledged, for %s ears: %s lost, %s twice, %s out of order",
		thousands(a.acked), thousands(a.due), thousands(a.lost), thousands(a.twice), thousands(a.disordered))
	if a.failed != nil {
		text += fmt.Sprintf("; failed: %v", a.failed)
	}
	return text
}

func (t *talk) audit() audit {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := audit{acked: len(t.acks), failed: t.failed}
	for p, numbers := range t.acked {
		a.due += len(numbers)
		a.lost += lost(numbers, t.heard[p])
	}
	for _, numbers := range t.heard {
		twice, disordered := unruly(numbers)
		a.twice += twice
		a.disordered += disordered
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

// unruly counts, of the numbers of one sender, those that were heard before and those that are older than one before them.
func unruly(heard []int) (twice, disordered int) {
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

// percentiles returns the 50th and the 99th.
func percentiles(durations []time.Duration) (p50, p99 time.Duration) {
	if len(durations) == 0 {
		return 0, 0
	}
	slices.Sort(durations)
	n := len(durations)
	return durations[n/2], durations[n*99/100]
}

// thousands is n with commas.
func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}
