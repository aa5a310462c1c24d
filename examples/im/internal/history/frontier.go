package history

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// maxBatches is how many batches of lookups are on their way at once. While they are, what comes waits for the
	// next: the more readers, the larger the batches.
	maxBatches = 2

	// maxFull is the same of batches to which nothing could be added.
	maxFull = 16
)

// A frontier says which subjects have something newer, for many readers with one question to JetStream. Any goroutine
// may use it.
type frontier struct {
	// Immutable.
	log     *log
	ask     func(context.Context) (position, error) // the leader
	timeout time.Duration
	shrunk  func() // is called when the stream is not as far as it was: it is another one, or a power cut took its end

	// mu guards the following.
	mu       sync.Mutex
	waiting  []*lookup
	subjects int // of those that wait, some more than once
	batches  int // that are on their way
	reached  int64
}

// A lookup is one reader's.
type lookup struct {
	// Immutable.
	subjects []string
	after    int64

	// Set before done is closed.
	newer map[string]int64 // the last versions of the subjects that have one above after; some may be above upTo
	upTo  int64            // what the stream's leader had when asked: newer is all there is up to it
	known bool             // upTo is the end of what is acknowledged, even if it is less than after
	err   error
	done  chan struct{}
}

// look returns what is newer than after on the subjects.
func (f *frontier) look(ctx context.Context, subjects []string, after int64) (*lookup, error) {
	l := &lookup{subjects: subjects, after: after, done: make(chan struct{})}
	f.mu.Lock()
	f.waiting = append(f.waiting, l)
	f.subjects += len(subjects)
	f.startLocked()
	f.mu.Unlock()
	select {
	case <-l.done:
		return l, l.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// startLocked begins a batch with as many as fit.
func (f *frontier) startLocked() {
	if len(f.waiting) == 0 || f.batches >= maxBatches && (f.batches >= maxFull || f.subjects < maxSubjects) {
		return
	}
	n := f.fittingLocked()
	for _, l := range f.waiting[:n] {
		f.subjects -= len(l.subjects)
	}
	batch := slices.Clone(f.waiting[:n])
	f.waiting = slices.Delete(f.waiting, 0, n)
	f.batches++
	go f.run(batch)
}

// fittingLocked is how many of those that wait fit into one question: one at least. What several ask for counts once.
func (f *frontier) fittingLocked() int {
	subjects := make(map[string]struct{})
	for n, l := range f.waiting {
		for _, subject := range l.subjects {
			subjects[subject] = struct{}{}
		}
		if n > 0 && len(subjects) > maxSubjects {
			return n
		}
	}
	return len(f.waiting)
}

// run answers a batch, in time or with an error.
func (f *frontier) run(batch []*lookup) {
	ctx, cancel := context.WithTimeout(context.Background(), f.timeout)
	defer cancel()
	err := f.answer(ctx, batch)
	for _, l := range batch {
		l.err = err
		close(l.done)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.batches--
	f.startLocked()
}

func (f *frontier) answer(ctx context.Context, batch []*lookup) error {
	at, err := f.position(ctx)
	if err != nil {
		return err
	}
	var subjects []string
	after := at.last
	for _, l := range batch {
		l.upTo, l.known = at.last, at.quorum
		if l.after < at.last {
			subjects = append(subjects, l.subjects...)
			after = min(after, l.after)
		}
	}
	if len(subjects) == 0 {
		return nil // all have read the stream's end
	}
	slices.Sort(subjects)
	messages, err := f.log.lasts(ctx, slices.Compact(subjects), after, at)
	if err != nil {
		return err
	}
	newest := make(map[string]int64, len(messages))
	for _, msg := range messages {
		newest[msg.Header.Get("Nats-Subject")] = sequence(msg)
	}
	for _, l := range batch {
		if l.after < at.last {
			l.pick(newest)
		}
	}
	return nil
}

// position asks the leader, and notices when the stream is not as far as it was before the question.
func (f *frontier) position(ctx context.Context) (position, error) {
	f.mu.Lock()
	before := f.reached
	f.mu.Unlock()
	at, err := f.ask(ctx)
	if err != nil {
		return at, err
	}
	shrunk := at.quorum && at.last < before
	if shrunk {
		f.shrunk()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.reached < at.last || shrunk {
		f.reached = at.last
	}
	return at, nil
}

func (l *lookup) pick(newest map[string]int64) {
	for _, subject := range l.subjects {
		if version := newest[subject]; version > l.after {
			if l.newer == nil {
				l.newer = make(map[string]int64)
			}
			l.newer[subject] = version
		}
	}
}
