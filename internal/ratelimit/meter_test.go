package ratelimit_test

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/libnet-go/libnet/internal/ratelimit"
)

// A model is a token bucket as textbooks have it: fractions that fill with time, up to a size.
type model struct {
	size, per int64
	tokens    *big.Rat
	at        int64
}

func newModel(size int, per time.Duration) *model {
	return &model{int64(size), int64(per), new(big.Rat).SetInt64(int64(size)), 0}
}

func (m *model) fill(now int64) {
	m.tokens.Add(m.tokens, new(big.Rat).Mul(big.NewRat(m.size, m.per), new(big.Rat).SetInt64(now-m.at)))
	if size := new(big.Rat).SetInt64(m.size); m.tokens.Cmp(size) > 0 {
		m.tokens = size
	}
	m.at = now
}

func (m *model) has(now int64) bool {
	if m.size <= 0 {
		return true
	}
	m.fill(now)
	return m.tokens.Cmp(big.NewRat(1, 1)) >= 0
}

func (m *model) take(now int64, n int) {
	if m.size > 0 {
		m.fill(now)
		m.tokens.Sub(m.tokens, new(big.Rat).SetInt64(int64(n)))
	}
}

// One seed is one sequence of messages at times around those at which they may pass.
func TestAMeterIsAPairOfTokenBuckets(t *testing.T) {
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 1))
		limit := ratelimit.Limit{Messages: size(random), Bytes: size(random), Per: time.Duration(1 + random.Int64N(int64(time.Minute)))}
		meter := ratelimit.NewMeter(limit)
		messages, bytes := newModel(limit.Messages, limit.Per), newModel(limit.Bytes, limit.Per)
		now := int64(1)
		for range 200 {
			next := meter.Next()
			passes := messages.has(now) && bytes.has(now)
			if got := next <= now; got != passes {
				t.Fatalf("seed %d, %+v at %d: passes %v, the model %v", seed, limit, now, got, passes)
			}
			if !passes {
				if messages.has(next-1) && bytes.has(next-1) || !messages.has(next) || !bytes.has(next) {
					t.Fatalf("seed %d, %+v: the next may pass at %d, not a nanosecond earlier or later", seed, limit, next)
				}
				now = next
				continue
			}
			n := int(random.Int64N(1 << random.IntN(20)))
			meter.Take(now, 1, n)
			messages.take(now, 1)
			bytes.take(now, n)
			now += random.Int64N(int64(limit.Per)/3 + 1)
		}
	}
}

func size(random *rand.Rand) int { return random.IntN(1<<random.IntN(16)) - 1 }

func TestAMeterKeepsToItsLimitAtTheExtremesOfInt(t *testing.T) {
	const longest = time.Duration(1 << 61)
	for _, size := range []int{math.MinInt, -1, 0, 1, 2, math.MaxInt - 1, math.MaxInt} {
		for _, per := range []time.Duration{1, time.Millisecond, longest} {
			meter := ratelimit.NewMeter(ratelimit.Limit{Messages: size, Bytes: size, Per: per})
			for _, now := range []int64{1, 2, int64(longest)} {
				before := meter.Next()
				for range 3 {
					meter.Take(now, 1, math.MaxInt)
				}
				next := meter.Next()
				if size > 0 && next < now || size <= 0 && next > 0 || next < before {
					t.Errorf("size %d in %v, at %d: the next at %d, before that at %d", size, per, now, next, before)
				}
			}
		}
	}
}

func TestOnlyALimitAboveNothingIsSet(t *testing.T) {
	for limit, set := range map[ratelimit.Limit]bool{
		{}:                                     false,
		{Messages: 1}:                          false,
		{Per: 1}:                               false,
		{Messages: -1, Bytes: -1, Per: 1}:      false,
		{Messages: 1, Bytes: -1, Per: 1}:       true,
		{Messages: 0, Bytes: 1, Per: 1}:        true,
		{Messages: math.MaxInt, Per: 1 << 61}:  true,
		{Messages: math.MaxInt, Per: -1 << 61}: false,
	} {
		if limit.IsSet() != set {
			t.Errorf("%+v: IsSet is %v", limit, !set)
		}
	}
}
