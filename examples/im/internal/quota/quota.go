// Package quota bounds what one sender takes of what all share: how fast he may say something, how much of a receiver's
// or group's place may be his, and how much of the whole store.
//
//	quotas := quota.New(records, quota.Limits{})
//	account := quotas.Account(user)        // a session's, from its login on
//	err := account.Check(ctx, message)     // before a message is stored: ErrTooFast, ErrShare or ErrTooMuch
//	account.Stored(message, version)       // after it is
//	err := account.Write(ctx)              // before anything else is: ErrTooFast
//	account.Settle(ctx)                    // when the sender has his answer
//	account.Close(ctx)                     // at the session's end
//
// Each bound is a bucket that leaks: what was taken is given back evenly over a time, which for places and the store is
// the time after which messages go by their age. A bucket lets pass at once what it holds, and twice that in its time.
//
// What was taken is recorded, so that a new login begins with no empty buckets: after every settleEvery messages and at
// the end of a session. Messages that come while this is done do not wait for it, unless mostAhead are not recorded. A
// server that is killed forgets what is not recorded: at most mostAhead messages a session, and more only while records
// are refused at once.
package quota

import (
	"context"
	"errors"
	"time"
)

var (
	// ErrTooFast is returned by Check for a sender who has to wait a moment.
	ErrTooFast = errors.New("quota: too many messages at once")

	// ErrShare is returned by Check for a sender who has all of a receiver's or group's place that one sender gets.
	ErrShare = errors.New("quota: the receiver has too many messages of this sender")

	// ErrTooMuch is returned by Check for a sender who has all of the store that one sender gets.
	ErrTooMuch = errors.New("quota: too much is stored of this sender")

	// ErrChanged is returned by Records.Save when somebody else has saved meanwhile.
	ErrChanged = errors.New("quota: the record has changed")
)

// Records keeps a record for each user. Any goroutine may call its methods.
type Records interface {
	// Load returns a user's record and its revision: nil and 0 if there is none.
	Load(ctx context.Context, user int64) (record []byte, revision uint64, err error)

	// Save replaces the record with that revision, or returns ErrChanged.
	Save(ctx context.Context, user int64, record []byte, revision uint64) (uint64, error)
}

// A Message is what a sender wants to have stored.
type Message struct {
	Box   string // the name of a receiver's or group's place
	Bytes int    // that it takes of the store
	Once  string // what only its repetitions have as well; "": it has none
}

// Limits bound one sender. Zero means the default, negative no limit.
type Limits struct {
	PerSecond int           // messages, in the long run; default 20
	Burst     int           // messages at once; default 200
	Share     int           // messages of one sender to one receiver, or in one group, within Span; default 10,000
	Bytes     int64         // of the store, within Span; default 32 MiB
	Span      time.Duration // how long messages are kept; default 30 days, negative: for ever
}

func (l Limits) withDefaults() Limits {
	byDefault(&l.PerSecond, 20)
	byDefault(&l.Burst, 200)
	byDefault(&l.Share, 10_000)
	byDefault(&l.Bytes, 32<<20)
	byDefault(&l.Span, 30*24*time.Hour)
	return l
}

func byDefault[T comparable](set *T, value T) {
	var zero T
	if *set == zero {
		*set = value
	}
}

// Quotas are what all senders are held to. Any goroutine may use them.
type Quotas struct {
	records Records
	limits  Limits
	now     func() time.Time
}

// New returns quotas that are recorded in r.
func New(r Records, l Limits) *Quotas {
	return &Quotas{records: r, limits: l.withDefaults(), now: time.Now}
}

// At returns the same Quotas with another clock, for tests.
func (q *Quotas) At(now func() time.Time) *Quotas {
	return &Quotas{records: q.records, limits: q.limits, now: now}
}

// Account returns what a user has taken, for one session. It reads nothing before the first Check.
func (q *Quotas) Account(user int64) *Account { return &Account{quotas: q, user: user} }
