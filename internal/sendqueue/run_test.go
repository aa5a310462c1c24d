package sendqueue

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
)

// extend lends frame to all who follow, if these are the queues.
func (l *testLender) extend(frame []byte, queues ...*Queue) (lent Lent, others []*Queue, ok bool) {
	lent, ok = l.Extend(frame, func(run Followed) (n int) {
		for _, q := range queues {
			if run.By(q) {
				n++
			} else {
				others = append(others, q)
			}
		}
		return n
	})
	if ok {
		l.note(lent)
	}
	return lent, others, ok
}

func TestQueuesThatFollowARunHaveWhatItBecame(t *testing.T) {
	var l testLender
	one, two := new(Queue), new(Queue)
	l.put(t, "a", one, two)
	l.put(t, "bc", one, two)
	for _, msg := range []string{"d", "", "ef"} {
		if _, others, ok := l.extend([]byte(msg), one, two); !ok || len(others) > 0 {
			t.Fatalf("%q was not lent to all: %v", msg, others)
		}
	}
	if c := one.Counters(); c.Messages != 5 || c.Bytes != 6 {
		t.Errorf("%+v", c)
	}
	put(t, one, "own")
	for q, want := range map[*Queue]string{one: "abcdefown", two: "abcdef"} {
		if rest := take(t, q).Rest(); string(rest) != want {
			t.Errorf("%q is to be written, want %q", rest, want)
		}
	}
	b := two.inflight
	if &b.Rest()[0] != &l.lent[0][0] {
		t.Error("what was lent was copied")
	}
	if _, err := two.Wrote(b, 4); err != nil || two.Counters().MessagesOut != 4 {
		t.Errorf("%v, %+v", err, two.Counters())
	}
	l.mustBeUnchanged(t)
}

func TestARunIsExtendedForAllWhoFollowItOrForNone(t *testing.T) {
	var l testLender
	one, two, other := new(Queue), new(Queue), new(Queue)
	for _, msg := range []string{"a", "b"} {
		l.put(t, msg, one, two)
	}
	if _, _, ok := l.extend([]byte("c"), one, other); ok {
		t.Error("a queue was lent what was not for it")
	}
	if _, others, ok := l.extend([]byte("c"), other, two, one); !ok || len(others) != 1 || others[0] != other {
		t.Errorf("%v, %v", others, ok)
	}
	_ = two.Counters()
	if _, others, ok := l.extend([]byte("d"), one, two); !ok || len(others) != 1 || others[0] != two {
		t.Errorf("a queue that was looked at is no other: %v, %v", others, ok)
	}
	one.Abandon() // a flush that nobody has come to
	if _, _, ok := l.extend([]byte("e"), one, two); ok || one.Counters().Discarded != 4 {
		t.Errorf("%v; %+v of a queue that was closed", ok, one.Counters())
	}
}

func TestNobodyFollowsBeyondWhatMayWaitForHim(t *testing.T) {
	for what, limit := range map[string]Limit{
		"messages":       {Messages: 8},
		"bytes":          {Messages: 1 << 20, Bytes: 4 * gatheredShare},
		"bytes together": {Messages: 1 << 20},
	} {
		size := 1
		if limit.Bytes == 0 && limit.Messages > 8 {
			size = gatheredBytes / 4
		}
		var l testLender
		l.put(t, "", new(Queue)) // begins what the next ones lie in
		small, large := new(Queue), new(Queue)
		for range 2 {
			lent := l.lend(make([]byte, size))
			for q, limit := range map[*Queue]Limit{small: limit, large: {Messages: 1 << 20}} {
				if _, err := q.PutLent(lent, &limit); err != nil {
					t.Fatal(err)
				}
			}
		}
		frame := make([]byte, size)
		if _, _, ok := l.extend(frame, small, large); ok != (what != "bytes together") {
			t.Errorf("%s: a third message: %v", what, ok)
		}
		if _, _, ok := l.extend(frame, small, large); ok {
			t.Errorf("%s: half of what a queue may hold waits", what)
		}
	}
}

// TestEachQueueWritesWhatItWasSentInOrder goes through random sequences of what happens to queues that are lent the
// same. A seed that failed is in the name of its test.
func TestEachQueueWritesWhatItWasSentInOrder(t *testing.T) {
	extended := 0
	for seed := range uint64(200) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			s := lentTo{random: rand.New(rand.NewPCG(seed, 2)), queues: make([]lentQueue, 6)}
			for i := range s.queues {
				s.queues[i].limit = Limit{Messages: 20 + s.random.IntN(200), Bytes: 10_000 + s.random.IntN(1_000_000)}
				if seed%2 == 0 {
					s.queues[i].limit.Busy = &s.busy
				}
			}
			s.run(t)
			extended += s.extended
		})
	}
	if extended < 5000 {
		t.Errorf("only %d messages were lent to all at once", extended)
	}
}

// lentTo is queues and who sends to them.
type lentTo struct {
	testLender
	random   *rand.Rand
	queues   []lentQueue
	busy     atomic.Int32
	sent     int
	extended int
}

type lentQueue struct {
	Queue
	limit     Limit
	want, got []byte
	accepted  uint64
}

func (s *lentTo) run(t *testing.T) {
	s.busy.Store(1)
	for range 400 {
		one := &s.queues[s.random.IntN(len(s.queues))]
		switch n := s.random.IntN(40); {
		case n < 34:
			s.broadcast(t)
		case n < 36:
			msg := s.message()
			_, err := one.PutCopy(Header{}, msg, &one.limit)
			one.took(msg, err)
		case n < 37:
			one.mustCount(t)
		default:
			one.write(t, s.random)
		}
	}
	for i := range s.queues {
		q := &s.queues[i]
		for q.Counters().Messages > 0 {
			q.write(t, s.random)
		}
		q.mustCount(t)
		if !bytes.Equal(q.got, q.want) {
			t.Fatalf("queue %d has written %d bytes that are not the %d that it took", i, len(q.got), len(q.want))
		}
	}
	s.mustBeUnchanged(t)
}

func (s *lentTo) message() []byte {
	s.sent++
	msg := bytes.Repeat(fmt.Appendf(nil, "%d,", s.sent), 1+s.random.IntN(20))
	if s.random.IntN(50) == 0 {
		msg = bytes.Repeat(msg, 30)
	}
	return msg
}

// broadcast sends a message to all queues, or to all but one.
func (s *lentTo) broadcast(t *testing.T) {
	var to []*Queue
	by := make(map[*Queue]*lentQueue)
	except := s.random.IntN(20)
	for i := range s.queues {
		if q := &s.queues[i]; i != except {
			to, by[&q.Queue] = append(to, &q.Queue), q
		}
	}
	msg := s.message()
	lent, others, ok := s.extend(msg, to...)
	if ok {
		s.extended++
	} else {
		lent, others = *s.lend(msg), to
	}
	for _, q := range others {
		_, err := q.PutLent(&lent, &by[q].limit)
		by[q].took(msg, err)
		delete(by, q)
	}
	for _, q := range by {
		q.took(msg, nil)
	}
}

func (q *lentQueue) took(msg []byte, err error) {
	if err == nil {
		q.want = append(q.want, msg...)
		q.accepted++
	}
}

func (q *lentQueue) mustCount(t *testing.T) {
	t.Helper()
	if c := q.Counters(); uint64(c.Messages)+c.MessagesOut != q.accepted || c.Bytes != len(q.want)-len(q.got) {
		t.Fatalf("%+v; %d messages were accepted, and %d bytes are not written", c, q.accepted, len(q.want)-len(q.got))
	}
}

// write begins a flush or goes on with it, and writes a part of what it offers.
func (q *lentQueue) write(t *testing.T, random *rand.Rand) {
	if q.inflight == nil && q.flushing == noFlush && !q.Begin() { // nobody carries out what a put has begun
		return
	}
	b := q.Take()
	n := random.IntN(len(b.Rest()) + 1)
	q.got = append(q.got, b.Rest()[:n]...)
	if _, err := q.Wrote(b, n); err != nil {
		t.Fatal(err)
	}
}
