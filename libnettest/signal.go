package libnettest

import (
	"time"

	"github.com/libnet-go/libnet/internal/lock"
)

// signal is a condition variable whose waits are on a channel: testing/synctest counts a goroutine
// that waits for a channel of its own bubble as durably blocked, one that waits for a mutex not.
type signal struct {
	// mu guards changed and whatever else the owner of the signal keeps. It is never held across a wait.
	mu      lock.Mutex[signalLock]
	changed chan struct{} // made by the first waiter, closed by notifyLocked; nil while nobody waits
}

// notifyLocked wakes every waiter.
func (s *signal) notifyLocked() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// waitLocked releases mu until the next notifyLocked.
func (s *signal) waitLocked() {
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	changed := s.changed
	s.mu.Unlock()
	<-changed
	s.mu.Lock()
}

// deadline belongs to the signal that it is set with; that signal's mutex guards it.
type deadline struct {
	timer   *time.Timer // nil while no moment in the future is set
	expired bool
}

// setLocked follows the rules of [net.Conn]: the zero time is no deadline, a past one expires at
// once, and a later call replaces an earlier one even when that has expired.
func (d *deadline) setLocked(s *signal, t time.Time) {
	d.stopLocked()
	d.expired = false
	switch wait := time.Until(t); {
	case t.IsZero():
	case wait <= 0:
		d.expired = true
	default:
		var timer *time.Timer
		timer = time.AfterFunc(wait, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if d.timer == timer { // else a later call replaced it while it fired
				d.expired = true
				s.notifyLocked()
			}
		})
		d.timer = timer
	}
	s.notifyLocked()
}

func (d *deadline) stopLocked() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
