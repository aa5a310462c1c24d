package sysmon

import (
	"math"
	"sync/atomic"
	"syscall"
	"time"
)

// period is for how long the monitor sleeps at most while goroutines come out of waits. Each look of its own costs
// 0.2 ms of a processor's time where messages are many: with 10 ms a message with one connection cost a twentieth more.
const period = 50 * time.Millisecond

const (
	resting = iota // no timer is pending
	unused         // one is, and nobody has come out of a wait since it was set
	used           // somebody has
)

var (
	state atomic.Int32
	timer *time.Timer
)

// The timer has a function to run: one with a channel is none to the runtime until somebody waits for that. It is set
// so late that it cannot run before it is there to be set again.
func init() {
	timer = time.AfterFunc(math.MaxInt64, due)
	timer.Stop()
}

// AfterWait is called by who has come out of a wait for the network and has told the scheduler of no system call.
func AfterWait() {
	if state.Load() != used && state.Swap(used) == resting {
		begin()
	}
}

// begin also wakes the monitor: it may sleep already, and does not learn of a timer.
func begin() {
	timer.Reset(period)
	tellScheduler()
}

// tellScheduler is a system call of which the scheduler is told.
func tellScheduler() { _, _, _ = syscall.Syscall(syscall.SYS_GETPID, 0, 0, 0) }

// due is the timer's: an idle process has none.
func due() {
	if state.CompareAndSwap(unused, resting) {
		return
	}
	state.Store(unused)
	timer.Reset(period)
}
