package histogram_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/libnet-go/libnet/internal/histogram"
)

var scale = histogram.Scale{First: 32, N: 20}

// inBucket is the slow way to say where a value belongs.
func inBucket(value uint64) int {
	for i, bound := range scale.Bounds() {
		if value <= bound {
			return i
		}
	}
	return scale.N
}

func TestEachValueIsInTheFirstBucketWhoseBoundItDoesNotExceed(t *testing.T) {
	values := []uint64{0, 1, math.MaxUint64, math.MaxInt64}
	for _, bound := range scale.Bounds() {
		values = append(values, bound-1, bound, bound+1)
	}
	for range 1000 {
		values = append(values, rand.Uint64()>>rand.IntN(64))
	}
	for _, value := range values {
		h := histogram.New(scale)
		h.Note(rand.Uint64(), value)
		want := make([]uint64, scale.N+1)
		want[inBucket(value)] = 1
		if counts, sum := h.Counts(); !slices.Equal(counts, want) || sum != value {
			t.Errorf("%d: %v, the sum %d", value, counts, sum)
		}
	}
}

func TestNothingIsLostWhereManyNoteAtOnce(t *testing.T) {
	const each, goroutines = 10_000, 8
	h := histogram.New(scale)
	var noting sync.WaitGroup
	for range goroutines {
		noting.Go(func() {
			for i := range uint64(each) {
				h.Note(i, i)
			}
		})
	}
	var before []uint64
	for range 100 {
		counts, _ := h.Counts()
		for i := range before {
			if counts[i] < before[i] {
				t.Errorf("bucket %d has gone from %d to %d", i, before[i], counts[i])
			}
		}
		before = counts
	}
	noting.Wait()
	want := make([]uint64, scale.N+1)
	for i := range uint64(each) {
		want[inBucket(i)] += goroutines
	}
	if counts, sum := h.Counts(); !slices.Equal(counts, want) || sum != goroutines*each*(each-1)/2 {
		t.Errorf("%v, the sum %d; want %v", counts, sum, want)
	}
}

func TestAScaleThatCannotBeIsRefused(t *testing.T) {
	for _, s := range []histogram.Scale{{}, {First: 3, N: 2}, {First: 4}, {First: 4, N: 1000}, {N: 3}} {
		func() {
			defer func() { _ = recover() }()
			histogram.New(s)
			t.Errorf("%+v was taken", s)
		}()
	}
}

func BenchmarkNote(b *testing.B) {
	h := histogram.New(scale)
	b.RunParallel(func(pb *testing.PB) {
		key := rand.Uint64()
		for pb.Next() {
			h.Note(key, 1234)
		}
	})
}
