package ws

import (
	"time"

	"github.com/libnet-go/libnet/internal/lock"
)

// A deadline is one of net.Conn's: it can be set while somebody waits for it.
type deadline struct {
	mu lock.Mutex[deadlineLock]
	// mu guards the following.
	timer  *time.Timer   // nil when nothing is to come
	passed chan struct{} // closed when the deadline has passed; nil until somebody asks or sets one
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	select {
	case <-d.channelLocked():
		d.passed = make(chan struct{}) // nobody waits for one that has passed
	default:
	}
	if t.IsZero() {
		return
	}
	left := time.Until(t)
	if left <= 0 {
		close(d.passed)
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(left, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.timer == timer { // else it was set anew meanwhile
			close(d.passed)
			d.timer = nil
		}
	})
	d.timer = timer
}

// wait returns a channel that is closed when the deadline passes, whatever it is set to meanwhile.
func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.channelLocked()
}

func (d *deadline) channelLocked() chan struct{} {
	if d.passed == nil {
		d.passed = make(chan struct{})
	}
	return d.passed
}
