package sendqueue

import (
	"time"

	"github.com/libnet-go/libnet/internal/histogram"
)

// waits measures how long messages are in a queue, of those whose users ask for that. A queue of which nothing is
// measured pays nothing for each message: what it asks for then is whether it has anything rare, which it asks anyway.
type waits struct {
	into *histogram.Histogram
	key  uint64
	from time.Time // what the following count from

	// When each message that is queued or in flight was taken, in their order: at[first:].
	at    []time.Duration
	first int
}

// keptWaits is how many an empty queue keeps room for.
const keptWaits = 256

// MeasureWaits has each message that is written noted in h with key, in nanoseconds: from when the queue took it to
// when the write that it was the end of has returned. It is called before anything is queued.
func (q *Queue) MeasureWaits(h *histogram.Histogram, key uint64) {
	q.lock()
	defer q.mu.Unlock()
	q.rareLocked().waits = &waits{into: h, key: key, from: time.Now()}
}

// Each of the following is called by who has asked whether the queue has anything rare.

// took is called with each message that is queued.
func (w *waits) took() {
	if w == nil {
		return
	}
	if len(w.at) == cap(w.at) && w.first > len(w.at)/2 {
		w.at = w.at[:copy(w.at, w.at[w.first:])]
		w.first = 0
	}
	w.at = append(w.at, time.Since(w.from))
}

// wrote is called when the n messages are written that were taken first.
func (w *waits) wrote(n int) {
	if w == nil || n == 0 {
		return
	}
	now := time.Since(w.from)
	for _, at := range w.at[w.first:][:n] {
		w.into.Note(w.key, uint64(max(now-at, 0)))
	}
	w.forget(n)
}

// gave is called when a codec has got the message that was taken first, and has sent it or not.
func (w *waits) gave(sent bool) {
	if sent {
		w.wrote(1)
	} else {
		w.forget(1)
	}
}

// dropped is called when a message is dropped behind others that stay.
func (w *waits) dropped(others int) {
	if w == nil {
		return
	}
	stay := w.at[w.first:]
	copy(stay[1:others+1], stay[:others])
	w.forget(1)
}

// forget is for the n messages that were taken first.
func (w *waits) forget(n int) {
	if w == nil {
		return
	}
	w.first += n
	if w.first < len(w.at) {
		return
	}
	w.at, w.first = w.at[:0], 0
	if cap(w.at) > keptWaits {
		w.at = nil
	}
}

// forgetAll is for a queue that is emptied.
func (w *waits) forgetAll() {
	if w != nil {
		w.forget(len(w.at) - w.first)
	}
}
