package monitor

import (
	"time"

	"github.com/libnet-go/libnet/internal/lock"
)

// rates knows how many messages each session had some looks ago, and so tells which are busy now.
type rates struct {
	// noting makes the filling of spare one look's.
	noting lock.Mutex[notingLock]
	spare  *snapshot

	mu lock.RWMutex[ratesLock]
	// mu guards the following. A look holds it for reading all the way, and takes it for writing when it
	// has ended.
	base, recent *snapshot // recent is between a look and the next that counts old, base one older
	pause        time.Duration
}

// snapshot is how many messages sessions had at a time, by their number.
type snapshot struct {
	at       time.Time
	messages map[uint64]uint64
}

// ratesLook is the part of one look.
type ratesLook struct {
	*rates
	noted *snapshot // nil if it is not this look that counts
}

func (r *rates) begin(now time.Time) ratesLook {
	look := ratesLook{rates: r}
	r.mu.RLock()
	due := r.recent == nil || now.Sub(r.recent.at) >= max(r.pause, minPause)
	if !due || !r.noting.TryLock() {
		return look
	}
	if r.spare == nil {
		r.spare = &snapshot{messages: make(map[uint64]uint64)}
	}
	clear(r.spare.messages)
	r.spare.at = now
	look.noted = r.spare
	return look
}

// of is the messages in and out a second since base; for a session that base does not know, since it opened.
func (l ratesLook) of(e *entry, now time.Time) float64 {
	from, before := e.stats.Opened, uint64(0)
	if l.base != nil {
		if n, ok := l.base.messages[e.id]; ok {
			from, before = l.base.at, n
		}
	}
	const least = time.Second // a session that is younger has no rate worth the name
	return float64(e.messages()-min(before, e.messages())) / max(now.Sub(from), least).Seconds()
}

func (l ratesLook) note(e *entry) {
	if l.noted != nil {
		l.noted.messages[e.id] = e.messages()
	}
}

// end makes what was counted recent, and what was recent the base.
func (l ratesLook) end() {
	r := l.rates
	r.mu.RUnlock()
	if l.noted == nil {
		return
	}
	r.mu.Lock()
	r.spare, r.base, r.recent = r.base, r.recent, l.noted
	r.pause = pauseAfter(time.Since(l.noted.at))
	r.mu.Unlock()
	r.noting.Unlock()
}
