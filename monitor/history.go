package monitor

import (
	"slices"
	"time"

	"github.com/libnet-go/libnet/internal/lock"
)

const (
	// pastKept is how far back the charts go, and pastStep the time that one of their points stands for.
	pastKept = 5 * time.Minute
	pastStep = 2 * time.Second

	// minPause is between two looks that the monitor takes, or keeps, by itself; a longer look is followed
	// by a longer pause, so that looking takes at most a hundredth of one processor.
	minPause   = time.Second
	lookShare  = 100
	rateWindow = 2 * time.Second // over which the rates in words are measured, at least
)

func pauseAfter(look time.Duration) time.Duration { return max(minPause, lookShare*look) }

// sample is what the charts show of one look. Counters are as counted: the charts take the differences.
type sample struct {
	at time.Time

	// Levels.
	open, waiting, goroutines int
	queuedBytes               int
	memory                    uint64

	// Counters.
	messagesIn, messagesOut, bytesIn, bytesOut uint64
	closed, slow, blocked                      uint64
	acceptErrors, rejected                     uint64
	handled                                    uint64 // nanoseconds; 0 without Server.Histograms, as the next two
	waited, waits                              uint64 // nanoseconds, and how many messages they are of
}

func sampleOf(v Varz) sample {
	s := sample{
		at:   v.Now,
		open: v.Open, waiting: v.Waiting, goroutines: v.Goroutines,
		queuedBytes: v.QueuedBytes,
		memory:      v.Memory,
		messagesIn:  v.MessagesIn, messagesOut: v.MessagesOut, bytesIn: v.BytesIn, bytesOut: v.BytesOut,
		slow: v.Slow, blocked: v.Blocked,
		acceptErrors: v.AcceptErrors, rejected: v.Rejected,
	}
	for _, n := range v.Closed {
		s.closed += n
	}
	if v.HandlerTime != nil {
		s.handled = uint64(v.HandlerTime.Sum * float64(time.Second))
	}
	if h := v.QueueWait; h != nil {
		s.waited, s.waits = uint64(h.Sum*float64(time.Second)), h.values()
	}
	return s
}

// history keeps samples for pastKept.
type history struct {
	mu lock.Mutex[historyLock]
	// mu guards the following.
	samples []sample // the oldest first
	pause   time.Duration
}

// add keeps a sample whose look took so long, unless another is there that is as good.
func (h *history) add(s sample, took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.samples); n > 0 && s.at.Sub(h.samples[n-1].at) < minPause*9/10 { // a timer may be early
		return
	}
	h.pause = pauseAfter(took)
	old := 0
	for old < len(h.samples) && s.at.Sub(h.samples[old].at) > pastKept+pastStep {
		old++
	}
	if old > 0 {
		h.samples = append(h.samples[:0], h.samples[old:]...)
	}
	h.samples = append(h.samples, s)
}

// due is the time until the next look.
func (h *history) due() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return max(h.pause, minPause)
}

// upTo returns all samples, with v's in the place of the newest: that is v's, or less than a second older. So the
// charts end with the numbers beside them.
func (h *history) upTo(v Varz) []sample {
	h.mu.Lock()
	defer h.mu.Unlock()
	samples := slices.Clone(h.samples)
	samples[len(samples)-1] = sampleOf(v)
	return samples
}
