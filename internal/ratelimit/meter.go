package ratelimit

import (
	"math"
	"math/bits"
	"time"
)

// A Limit is how many messages, and bytes, may pass within Per, at the most at once. What is not above 0 is not
// limited.
type Limit struct {
	Messages, Bytes int
	Per             time.Duration // 1 << 61 at most
}

// IsSet reports whether anything is limited.
func (l Limit) IsSet() bool { return l.Per > 0 && (l.Messages > 0 || l.Bytes > 0) }

// A Meter holds what passes to a limit. Times are nanoseconds on any scale that begins above 0. It belongs to one
// goroutine at a time.
type Meter struct{ messages, bytes bucket }

// NewMeter returns one with full buckets.
func NewMeter(l Limit) Meter { return Meter{newBucket(l.Messages, l.Per), newBucket(l.Bytes, l.Per)} }

// Next returns when the next message may pass; a time that is not after now says that it may.
func (m *Meter) Next() int64 { return max(m.messages.next(), m.bytes.next()) }

// Take notes what passes now.
func (m *Meter) Take(now int64, messages, bytes int) {
	m.messages.take(now, messages)
	m.bytes.take(now, bytes)
}

// A bucket of size tokens, which is filled from empty within per. A token takes per/size nanoseconds to come, and so
// the time at which it will be full says what is in it.
type bucket struct {
	size uint64 // 0: it never lacks any
	per  uint64
	full int64  // when it will be full, rounded down; in the past: it is
	rest uint64 // that is so many size-ths of a nanosecond later
}

func newBucket(size int, per time.Duration) bucket {
	return bucket{size: uint64(max(size, 0)), per: uint64(max(per, 0))}
}

// next returns when there is a token: as long before it is full as the others take.
func (b *bucket) next() int64 {
	if b.size == 0 {
		return 0
	}
	sum := b.per + b.rest
	first := sum / b.size // until the first token of an empty bucket
	if sum%b.size > 0 {
		first++
	}
	return b.full - int64(b.per) + int64(first)
}

// take takes n tokens, also those that are not there.
func (b *bucket) take(now int64, n int) {
	if b.size == 0 {
		return
	}
	if now > b.full {
		b.full, b.rest = now, 0
	}
	high, low := bits.Mul64(uint64(n), b.per)
	low, carry := bits.Add64(low, b.rest, 0)
	high += carry
	if high >= b.size {
		b.full, b.rest = math.MaxInt64, 0
		return
	}
	var later uint64
	later, b.rest = bits.Div64(high, low, b.size)
	b.full += int64(min(later, uint64(math.MaxInt64-b.full)))
}
