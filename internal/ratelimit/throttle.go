package ratelimit

import (
	"sync/atomic"
	"time"
)

// A Throttle is what one session's limit takes.
type Throttle struct {
	Meter
	resume func()
	timer  atomic.Pointer[time.Timer] // nil before the first pause
}

// Init comes first. Pauses end with a call of resume, on a goroutine of its own.
func (t *Throttle) Init(l Limit, resume func()) { t.Meter, t.resume = NewMeter(l), resume }

// ResumeIn has resume called in d. It belongs to the goroutine that the Meter belongs to.
func (t *Throttle) ResumeIn(d time.Duration) {
	if timer := t.timer.Load(); timer != nil {
		timer.Reset(d)
		return
	}
	t.timer.Store(time.AfterFunc(d, t.resume))
}

// Stop takes ResumeIn back: resume is not called, or has been.
func (t *Throttle) Stop() {
	if timer := t.timer.Load(); timer != nil {
		timer.Stop()
	}
}

// ResumeNow has resume called soon, if there was a pause. Any goroutine may call it.
func (t *Throttle) ResumeNow() {
	if timer := t.timer.Load(); timer != nil {
		timer.Reset(0)
	}
}
