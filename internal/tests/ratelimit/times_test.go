package ratelimit

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/ratelimit"
	"github.com/libnet-go/libnet/internal/testkit"
)

const ms = time.Millisecond

func TestMessagesComeNoFasterThanTheLimitAndNotLater(t *testing.T) {
	for name, test := range map[string]struct {
		limit libnet.RateLimit
		sizes []int // of messages, with a header of 4 bytes
		want  []time.Duration
	}{
		"messages": {libnet.RateLimit{Messages: 2}, slices.Repeat([]int{10}, 6), []time.Duration{0, 0, 500 * ms, 1000 * ms, 1500 * ms, 2000 * ms}},
		"one a minute": {libnet.RateLimit{Messages: 1, Per: time.Minute}, []int{0, 0, 0},
			[]time.Duration{0, time.Minute, 2 * time.Minute}},
		"a third of a second": {libnet.RateLimit{Messages: 3}, slices.Repeat([]int{1}, 7),
			[]time.Duration{0, 0, 0, 333_333_334, 666_666_667, 1000 * ms, 1_333_333_334}},
		"bytes, of which one must be there": {libnet.RateLimit{Bytes: 100}, slices.Repeat([]int{46}, 5),
			[]time.Duration{0, 0, 10 * ms, 510 * ms, 1010 * ms}},
		"a message beyond all bytes": {libnet.RateLimit{Bytes: 100}, []int{246, 6, 96}, []time.Duration{0, 1510 * ms, 1610 * ms}},
		"both":                       {libnet.RateLimit{Messages: 2, Bytes: 100}, []int{0, 0, 192, 0}, []time.Duration{0, 0, 500 * ms, 1470 * ms}},
		"off by Per":                 {libnet.RateLimit{Messages: 1, Bytes: 1, Per: -1}, []int{0, 0, 100}, []time.Duration{0, 0, 0}},
		"off":                        {libnet.RateLimit{Messages: -1}, []int{0, 0, 100}, []time.Duration{0, 0, 0}},
	} {
		for wayName, way := range ways {
			t.Run(fmt.Sprint(name, ", ", wayName), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var got []time.Duration
					r := way.start(t, func(srv *libnet.Server) { srv.RateLimit = test.limit },
						func(_ *rig, _ []byte, after time.Duration) { got = append(got, after) })
					r.send(t, test.sizes...)
					time.Sleep(time.Hour)
					synctest.Wait()
					if !slices.Equal(got, test.want) {
						t.Errorf("messages came after %v, want %v", got, test.want)
					}
				})
			})
		}
	}
}

// One seed is one peer: messages of random sizes at random times, in pieces.
func TestWhatComesKeepsToAMeter(t *testing.T) {
	for seed := range uint64(testkit.Size(40, 1000)) {
		for name, way := range ways {
			synctest.Test(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 2))
				limit := libnet.RateLimit{Messages: random.IntN(30), Bytes: random.IntN(3000), Per: time.Duration(random.Int64N(int64(time.Minute))) + ms}
				var got []time.Duration
				r := way.start(t, func(srv *libnet.Server) { srv.RateLimit = limit },
					func(_ *rig, _ []byte, after time.Duration) { got = append(got, after) })
				want := r.sendAtRandom(t, random, limit)
				time.Sleep(want[len(want)-1])
				synctest.Wait()
				if !slices.Equal(got, want) {
					t.Fatalf("seed %d, %s, %+v: messages came after\n%v, want\n%v", seed, name, limit, got, want)
				}
			})
		}
	}
}

// sendAtRandom returns when the messages are to come.
func (r *rig) sendAtRandom(t *testing.T, random *rand.Rand, limit libnet.RateLimit) (want []time.Duration) {
	const openedNow = 1
	meter := ratelimit.NewMeter(ratelimit.Limit{Messages: limit.Messages, Bytes: limit.Bytes, Per: limit.Per})
	last := int64(openedNow)
	for range 60 {
		if random.IntN(4) == 0 {
			time.Sleep(time.Duration(random.Int64N(int64(limit.Per) / 4)))
		}
		size := random.IntN(1 << random.IntN(12))
		r.send(t, size)
		last = max(last, int64(time.Since(r.begun))+openedNow, meter.Next())
		meter.Take(last, 1, size+testkit.HeaderSize)
		want = append(want, time.Duration(last-openedNow))
	}
	return want
}

func TestASilentPeerMaySendItsBurstAgain(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got []time.Duration
				r := way.start(t, func(srv *libnet.Server) { srv.RateLimit = libnet.RateLimit{Messages: 3, Per: 3 * time.Second} },
					func(_ *rig, _ []byte, after time.Duration) { got = append(got, after) })
				r.send(t, 1, 1, 1)
				time.Sleep(2 * time.Second)
				r.send(t, 1, 1, 1)
				time.Sleep(time.Hour)
				r.send(t, 1, 1, 1, 1)
				time.Sleep(time.Hour)
				synctest.Wait()
				again := time.Hour + 2*time.Second
				want := []time.Duration{0, 0, 0, 2 * time.Second, 2 * time.Second, 3 * time.Second, again, again, again, again + time.Second}
				if !slices.Equal(got, want) {
					t.Errorf("messages came after %v, want %v", got, want)
				}
			})
		})
	}
}

// What was sent before the pause does not wait for its end.
func TestSendingGoesOnWhileASessionPauses(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := way.start(t, func(srv *libnet.Server) { srv.RateLimit = libnet.RateLimit{Messages: 1, Per: time.Minute} },
					func(r *rig, msg []byte, _ time.Duration) { testkit.MustSend(t, r.session, msg) })
				r.send(t, 1, 2)
				for i, want := range []struct {
					message string
					after   time.Duration
				}{{"\x00", 0}, {"news", 0}, {"\x00\x00", time.Minute}} {
					if i == 1 {
						synctest.Wait()
						testkit.MustSend(t, r.session, []byte(want.message))
					}
					testkit.WantFrame(t, r.client, want.message)
					if after := time.Since(r.begun); after != want.after {
						t.Errorf("%q came after %v, want %v", want.message, after, want.after)
					}
				}
			})
		})
	}
}
