package histogram

import (
	"math/bits"
	"sync/atomic"
)

// maxBuckets is how many bounds a histogram has at most.
const maxBuckets = 28

// shards keep processors from taking a cache line from one another; a power of two.
const shards = 16

// A Scale says the bounds of a histogram: First, and each the double of the one before it. A value lies in the first
// bucket whose bound it does not exceed, or beyond all of them.
type Scale struct {
	First uint64 // a power of two
	N     int    // bounds; maxBuckets at most
}

// A Histogram counts values by their size. All methods may be called by any goroutine. It takes 4 KB.
type Histogram struct {
	scale Scale
	of    [shards]shard
}

// shard is what some of those who note values share. Its size is a multiple of a cache line's.
type shard struct {
	counts [maxBuckets + 1]atomic.Uint64 // the last is of what is beyond all bounds
	sum    atomic.Uint64
	_      [2]uint64
}

// New returns an empty histogram.
func New(s Scale) *Histogram {
	if s.N < 1 || s.N > maxBuckets || s.First == 0 || s.First&(s.First-1) != 0 {
		panic("libnet: a histogram of no such scale")
	}
	return &Histogram{scale: s}
}

// Note counts a value. Values of different keys are noted beside each other: a session's id is a good key.
func (h *Histogram) Note(key, value uint64) {
	s := &h.of[key%shards]
	s.counts[h.scale.bucket(value)].Add(1)
	s.sum.Add(value)
}

func (s Scale) bucket(value uint64) int {
	if value <= s.First {
		return 0
	}
	return min(bits.Len64(value-1)-bits.TrailingZeros64(s.First), s.N)
}

// Bounds returns the bounds of the buckets.
func (s Scale) Bounds() []uint64 {
	bounds := make([]uint64, s.N)
	for i := range bounds {
		bounds[i] = s.First << i
	}
	return bounds
}

// Counts returns how many values each bucket has, the last one those beyond all bounds, and the sum of all values. The
// sum may lack what is being noted, or be ahead of the counts by it.
func (h *Histogram) Counts() (counts []uint64, sum uint64) {
	counts = make([]uint64, h.scale.N+1)
	for i := range h.of {
		s := &h.of[i]
		for b := range counts {
			counts[b] += s.counts[b].Load()
		}
		sum += s.sum.Load()
	}
	return counts, sum
}
