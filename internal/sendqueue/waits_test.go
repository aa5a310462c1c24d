package sendqueue

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet/internal/histogram"
)

// scale has a bucket for about a second, and for each double of that.
var scale = histogram.Scale{First: 1 << 30, N: 5}

// noted returns how many waits were noted, and their sum in seconds.
func noted(h *histogram.Histogram) (n, seconds int) {
	counts, sum := h.Counts()
	for _, c := range counts {
		n += int(c)
	}
	return n, int(time.Duration(sum) / time.Second)
}

// TestEachMessageIsNotedWithItsOwnWait puts, drops and writes at random, by a clock that shows when each message came.
func TestEachMessageIsNotedWithItsOwnWait(t *testing.T) {
	for seed := range uint64(100) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runWaits(t, rand.New(rand.NewPCG(seed, 2))) })
		})
	}
}

func runWaits(t *testing.T, random *rand.Rand) {
	began := time.Now()
	now := func() int { return int(time.Since(began) / time.Second) }
	h := histogram.New(scale)
	q := new(Queue)
	q.MeasureWaits(h, 1)
	limit := Limit{Messages: 2 + random.IntN(100), Bytes: 1 << 20}
	var waiting []int // since when each message does
	written, seconds := 0, 0
	inflight := func() int { return q.inflightLocked() }

	put := func() {
		before := q.Counters().Discarded
		var err error
		switch random.IntN(4) {
		case 0:
			_, err = q.PutCopy(Header{1, 1}, make([]byte, random.IntN(20_000)), &limit)
		case 1:
			_, err = q.PutShared([]byte("shared"), limit)
		case 2:
			c := NewDraft()
			c.SetFrame(append(c.Room(), "frame"...))
			_, err = q.Put(c, limit)
		case 3:
			_, _ = q.Write([]byte("no message"), 0, limit.Bytes, false)
			return
		}
		if err != nil {
			return
		}
		waiting = append(waiting, now())
		for range q.Counters().Discarded - before {
			waiting = slices.Delete(waiting, inflight(), inflight()+1)
		}
	}
	write := func() {
		if q.inflight == nil && (q.flushing == noFlush && !q.Begin() || q.Take() == nil) {
			return
		}
		b, before := q.inflight, q.messages
		if _, err := q.Wrote(b, random.IntN(len(b.Rest())+1)); err != nil {
			t.Fatal(err)
		}
		for range before - q.messages {
			seconds += now() - waiting[0]
			waiting = waiting[1:]
			written++
		}
	}
	for range 500 {
		time.Sleep(time.Duration(random.IntN(3)) * time.Second)
		limit.Drop = random.IntN(2) == 0
		if random.IntN(3) == 0 {
			write()
		} else {
			put()
		}
		if n, sum := noted(h); n != written || sum != seconds || len(waiting) != int(q.messages) {
			t.Fatalf("%d waits of %d s in all were noted, and %d messages wait; want %d of %d s, and %d", n, sum, q.messages, written, seconds, len(waiting))
		}
	}
	q.Close()
	if w := q.rare.waits; q.inflight == nil && len(w.at) != 0 {
		t.Errorf("a closed queue remembers %d messages", len(w.at))
	}
}

// A Send that writes itself has waited for as long as its write has.
func TestWhatASenderWritesItselfIsNotedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, q := histogram.New(scale), new(Queue)
		q.MeasureWaits(h, 1)
		c := NewDraft()
		c.SetFrame(append(c.Room(), "frame"...))
		if _, _, err := q.Claim(c, false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		if _, err := q.Wrote(c, 5); err != nil {
			t.Fatal(err)
		}
		if n, seconds := noted(h); n != 1 || seconds != 3 {
			t.Errorf("%d of %d s", n, seconds)
		}
	})
}

// What stays of a long queue is as much as another message needs.
func TestAQueueThatWasLongRemembersLittle(t *testing.T) {
	q := new(Queue)
	q.MeasureWaits(histogram.New(scale), 1)
	longest := 0
	for range 100 {
		for range 10_000 {
			if _, err := q.PutCopy(Header{1, 1}, nil, &NoLimit); err != nil {
				t.Fatal(err)
			}
			longest = max(longest, cap(q.rare.waits.at))
		}
		for b := q.Take(); b != nil && q.messages > 100; {
			b, _ = q.Wrote(b, len(b.Rest()))
		}
		q.flushing = noFlush
	}
	if most := 10_100 + 4<<10; longest > 3*most {
		t.Errorf("room for %d, and at most %d are queued", longest, most)
	}
	for b := q.Take(); b != nil; {
		b, _ = q.Wrote(b, len(b.Rest()))
	}
	if n := cap(q.rare.waits.at); n > keptWaits {
		t.Errorf("an empty queue has room for %d", n)
	}
}

func BenchmarkPutCopyMeasured(b *testing.B) {
	h := histogram.New(histogram.Scale{First: 1 << 10, N: 25})
	benchmarkPut(b, func(q *Queue, msg []byte) error {
		if q.rare == nil {
			q.MeasureWaits(h, 1)
		}
		_, err := q.PutCopy(Header{0x4000, 2}, msg, &NoLimit)
		return err
	})
}

// What another queue goes on with has waited there from its arrival on.
func TestWhatAQueueGoesOnWithIsNotedByIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var from, to Queue
		here, there := histogram.New(scale), histogram.New(scale)
		from.MeasureWaits(here, 1)
		to.MeasureWaits(there, 1)
		put(t, &from, "first", "second", "third")
		b := take(t, &from)
		from.Hold()
		time.Sleep(2 * time.Second)
		_, _ = from.Wrote(b, 7)
		mustHold(t, &to)
		to.Restore(mustSeal(t, &from))
		from.Surrender()
		time.Sleep(3 * time.Second)
		to.Unhold()
		for b := to.Take(); b != nil; {
			b, _ = to.Wrote(b, len(b.Rest()))
		}
		if n, seconds := noted(here); n != 1 || seconds != 2 {
			t.Errorf("%d of %d s were noted before", n, seconds)
		}
		if n, seconds := noted(there); n != 2 || seconds != 6 {
			t.Errorf("%d of %d s were noted behind", n, seconds)
		}
	})
}
