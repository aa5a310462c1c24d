package trial

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/client"
)

// A Talk is what users say to each other between two moments, and what they know of it: senders what was acknowledged,
// receivers what they heard. Its methods may be called by any goroutine.
type Talk struct {
	number  int
	began   time.Time
	stop    chan struct{}
	writers sync.WaitGroup

	// mu guards the following.
	mu     sync.Mutex
	acked  map[pair][]int // message numbers, in the sender's order
	heard  map[pair][]int // as they came
	sent   map[messageKey]time.Time
	acks   []ack
	hears  []time.Duration // from Send to the receiver
	failed error           // one of those that Send returned
	ended  time.Time       // when the writers were told to stop; zero before
}

// A pair is who said something and who should hear it.
type pair struct{ sender, receiver int64 }

type messageKey struct {
	sender int64
	number int
}

// An ack is when a message was acknowledged, and how long after Send was called.
type ack struct {
	at   time.Time
	took time.Duration
}

func (t *Talk) begin(sender int64, number int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent[messageKey{sender, number}] = time.Now()
}

// acknowledge notes that a message is stored for these receivers.
func (t *Talk) acknowledge(sender int64, number int, receivers []int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.acks = append(t.acks, ack{now, now.Sub(t.sent[messageKey{sender, number}])})
	for _, receiver := range receivers {
		to := pair{sender, receiver}
		t.acked[to] = append(t.acked[to], number)
	}
}

func (t *Talk) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed = err
}

func (t *Talk) hear(sender, receiver int64, number int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	from := pair{sender, receiver}
	t.heard[from] = append(t.heard[from], number)
	if sent, ok := t.sent[messageKey{sender, number}]; ok {
		t.hears = append(t.hears, time.Since(sent))
	}
}

// Waits are how long senders waited for each acknowledgement.
func (t *Talk) Waits() []time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	waits := make([]time.Duration, len(t.acks))
	for i, a := range t.acks {
		waits[i] = a.took
	}
	return waits
}

// Hears are how long after each message was sent a receiver heard it.
func (t *Talk) Hears() []time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.hears)
}

// Silence is the longest time between two moments in which nothing at all was acknowledged.
func (t *Talk) Silence(from, to time.Time) (longest time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	last := from
	for _, a := range t.acks {
		if a.at.After(from) && a.at.Before(to) {
			longest = max(longest, a.at.Sub(last))
			last = a.at
		}
	}
	return max(longest, to.Sub(last))
}

// Lasted are the moments when a talk began and when its writers were told to stop.
func (t *Talk) Lasted() (from, to time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.began, t.ended
}

// AckedSince says whether anything was acknowledged after a moment.
func (t *Talk) AckedSince(moment time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.acks) > 0 && t.acks[len(t.acks)-1].at.After(moment)
}

// finish tells the writers to stop, and returns when they have.
func (t *Talk) finish() {
	t.mu.Lock()
	t.ended = time.Now()
	t.mu.Unlock()
	close(t.stop)
	t.writers.Wait()
}

// talks are all that were and the one that is.
type talks struct {
	miss func(user int64, text string) bool
	mu   sync.Mutex
	all  []*Talk
}

func newTalks(miss func(int64, string) bool) *talks {
	if miss == nil {
		miss = func(int64, string) bool { return false }
	}
	return &talks{miss: miss}
}

func (ts *talks) next() *Talk {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := &Talk{
		number: len(ts.all), began: time.Now(), stop: make(chan struct{}),
		acked: make(map[pair][]int), heard: make(map[pair][]int), sent: make(map[messageKey]time.Time),
	}
	ts.all = append(ts.all, t)
	return t
}

// hear is a user's OnMessage.
func (ts *talks) hear(receiver int64, m client.Message) {
	var talk, number int
	if _, err := fmt.Sscanf(m.Text, "%d.%d", &talk, &number); err != nil || ts.miss(receiver, m.Text) {
		return
	}
	ts.mu.Lock()
	t := ts.all[talk]
	ts.mu.Unlock()
	t.hear(m.Source, receiver, number)
}

// audit is that of everything that was said.
func (ts *talks) audit() (sum Audit) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, t := range ts.all {
		sum = sum.Plus(t.Audit())
	}
	return sum
}
