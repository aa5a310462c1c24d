package usercode

import "sync/atomic"

// logCalls is how many calls of one logger may be at work. As long as none of them returns, its further lines are lost.
const logCalls = 8

// A Log is who has lines for a logger of the user's, which may panic, end its goroutine, or not return. Its zero value
// is ready to use.
type Log struct{ calls atomic.Int32 }

// Write has f write a line, on a goroutine of its own, and waits for that, but not for longer than Patience. It is
// called with no lock held.
func (l *Log) Write(f func()) {
	if l.calls.Add(1) > logCalls {
		l.calls.Add(-1)
		return
	}
	Answer(func() bool {
		defer l.calls.Add(-1)
		f()
		return true
	})
}
