package faults

import (
	"fmt"
	"strings"
	"time"
)

// A finding is what a fault did, in figures.
type finding struct {
	broken  bool
	figures []string
}

func (f *finding) note(format string, args ...any) {
	f.figures = append(f.figures, fmt.Sprintf(format, args...))
}

// check notes what must be.
func (f *finding) check(kept bool, format string, args ...any) {
	f.broken = f.broken || !kept
	f.note(format, args...)
}

// most notes a duration that has a limit.
func (f *finding) most(what string, took, limit time.Duration) {
	f.check(took <= limit, "%s %v (at most %v)", what, round(took), limit)
}

// round leaves about three digits.
func round(d time.Duration) time.Duration {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond)
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond)
	}
	return d.Round(10 * time.Microsecond)
}

func (f *finding) String() string { return strings.Join(f.figures, "; ") }
