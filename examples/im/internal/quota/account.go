package quota

import (
	"context"
	"errors"
	"sync"
)

const (
	// settleEvery is after how many messages what was taken is recorded.
	settleEvery = 32

	// mostAhead is from how many messages that are not recorded on the next waits for a recording that is under way.
	// Without this bound a user could take a whole burst in each of many sessions while nothing can be recorded.
	mostAhead = 4 * settleEvery

	// settleTries bounds the attempts to record what a session of the same user records as well.
	settleTries = 5
)

// An Account is one sender's. Any goroutine may use it.
type Account struct {
	// Immutable.
	quotas *Quotas
	user   int64

	// mu guards the following.
	mu       sync.Mutex
	loaded   bool
	revision uint64
	all      record // what was taken, by this session and before
	taken    record // of that, what is neither recorded nor being recorded
	counted  int    // messages and other writes that are not recorded
	closed   bool

	// recording is there while a goroutine records, without the lock, and is closed when it has.
	recording chan struct{}
}

// Check says whether the sender may store a message. Nil counts as a message, whether it is stored or not. A repetition
// of what was stored a moment ago needs no room. An error other than ErrTooFast, ErrShare and ErrTooMuch is that of the
// records.
func (a *Account) Check(ctx context.Context, m Message) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.readyLocked(ctx); err != nil {
		return err
	}
	limits := a.quotas.limits
	now := a.quotas.now().UnixMilli()
	place := a.all.Boxes[m.Box]
	place.leak(limits.share(), now)
	a.all.Rate.leak(limits.rate(), now)
	a.all.Bytes.leak(limits.bytes(), now)
	switch repeated := a.all.find(m.Once, now) != 0; {
	case !a.all.Rate.room(limits.rate(), 1):
		return ErrTooFast
	case !place.room(limits.share(), 1) && !repeated:
		return ErrShare
	case !a.all.Bytes.room(limits.bytes(), float64(m.Bytes)) && !repeated:
		return ErrTooMuch
	}
	a.all.Rate.Level++
	a.taken.Rate.Level++
	return nil
}

// Stored says that the message is stored, which Check has allowed, under a version that a repetition has as well, and
// that is counted once.
func (a *Account) Stored(m Message, version int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	limits, now := a.quotas.limits, a.quotas.now().UnixMilli()
	if a.all.find(m.Once, now) == version {
		return
	}
	for _, r := range []*record{&a.all, &a.taken} {
		place := r.Boxes[m.Box]
		place.leak(limits.share(), now)
		place.Level++
		r.Boxes[m.Box] = place
		r.Bytes.Level += float64(m.Bytes)
	}
	place := a.all.Boxes[m.Box]
	if m.Once != "" && !(place.room(limits.share(), maxSaid) && a.all.Bytes.room(limits.bytes(), maxSaid*float64(m.Bytes))) {
		a.all.note(said{m.Once, version, now})
		a.taken.note(said{m.Once, version, now})
	}
	a.counted++
}

// Write says whether the sender may have something else written that all share, such as a membership: ErrTooFast for
// who has to wait a moment. It counts for the rate as a message does.
func (a *Account) Write(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.readyLocked(ctx); err != nil {
		return err
	}
	limits := a.quotas.limits
	a.all.Rate.leak(limits.rate(), a.quotas.now().UnixMilli())
	if !a.all.Rate.room(limits.rate(), 1) {
		return ErrTooFast
	}
	a.all.Rate.Level++
	a.taken.Rate.Level++
	a.counted++
	return nil
}

// Settle records what was taken, if that is due and nobody does. It waits for the records, and no message waits for it
// (but for mostAhead), so it may have a goroutine of its own. An error is no harm: the next Settle records it.
func (a *Account) Settle(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.settleLocked(ctx)
}

// Due reports whether so much was taken since it was recorded that Settle would record it.
func (a *Account) Due() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.dueLocked()
}

func (a *Account) dueLocked() bool {
	return a.recording == nil && (a.counted >= settleEvery || a.closed && a.counted > 0)
}

// Close records what was taken. After it, Settle records each message.
func (a *Account) Close(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	if err := a.awaitLocked(ctx); err != nil {
		return err
	}
	return a.settleLocked(ctx)
}

// readyLocked returns when another message may be counted.
func (a *Account) readyLocked(ctx context.Context) error {
	if a.counted >= mostAhead {
		if err := a.awaitLocked(ctx); err != nil {
			return err
		}
	}
	return a.loadLocked(ctx)
}

// awaitLocked returns when nobody records.
func (a *Account) awaitLocked(ctx context.Context) error {
	for a.recording != nil {
		recorded := a.recording
		a.mu.Unlock()
		select {
		case <-recorded:
		case <-ctx.Done():
		}
		a.mu.Lock()
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

func (a *Account) loadLocked(ctx context.Context) error {
	if a.loaded {
		return nil
	}
	data, revision, err := a.quotas.records.Load(ctx, a.user)
	if err != nil {
		return err
	}
	a.loaded, a.revision = true, revision
	a.all, a.taken = read(data), read(nil)
	return nil
}

// settleLocked records until nothing more is due. It gives the lock away while it waits for the records.
func (a *Account) settleLocked(ctx context.Context) error {
	for a.dueLocked() {
		a.recording = make(chan struct{})
		err := a.recordLocked(ctx)
		close(a.recording)
		a.recording = nil
		if err != nil {
			return err
		}
	}
	return nil
}

// recordLocked adds what was taken to the record, which another session of the user may have changed.
func (a *Account) recordLocked(ctx context.Context) (err error) {
	for range settleTries {
		a.all.leak(a.quotas.limits, a.quotas.now().UnixMilli())
		being, counted := a.taken, a.counted
		a.taken = read(nil)
		if err = a.saveLocked(ctx); err == nil {
			a.counted -= counted
			return nil
		}
		being.add(&a.taken)
		a.taken = being
		if !errors.Is(err, ErrChanged) {
			return err
		}
		if err := a.reloadLocked(ctx); err != nil {
			return err
		}
	}
	return err
}

// saveLocked saves all that was taken so far. What is taken meanwhile is the next one's.
func (a *Account) saveLocked(ctx context.Context) error {
	data, before := a.all.encode(), a.revision
	a.mu.Unlock()
	revision, err := a.quotas.records.Save(ctx, a.user, data, before)
	a.mu.Lock()
	if err == nil {
		a.revision = revision
	}
	return err
}

// reloadLocked has what was taken come on top of what another session has recorded.
func (a *Account) reloadLocked(ctx context.Context) error {
	a.mu.Unlock()
	data, revision, err := a.quotas.records.Load(ctx, a.user)
	a.mu.Lock()
	if err != nil {
		return err
	}
	a.revision, a.all = revision, read(data)
	a.all.leak(a.quotas.limits, a.quotas.now().UnixMilli())
	a.all.add(&a.taken)
	return nil
}
