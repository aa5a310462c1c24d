package sendqueue

import (
	"bytes"
	"testing"
)

// A testLender looks after what it has lent, which several queues read.
type testLender struct {
	Lender
	lent, wants [][]byte
}

func (l *testLender) lend(frame []byte) *Lent {
	lent := l.Lend(frame)
	l.note(lent)
	return &lent
}

func (l *testLender) note(lent Lent) {
	l.lent, l.wants = append(l.lent, lent.Bytes), append(l.wants, bytes.Clone(lent.Bytes))
}

func (l *testLender) mustBeUnchanged(t *testing.T) {
	t.Helper()
	for i, want := range l.wants {
		if !bytes.Equal(l.lent[i], want) {
			t.Fatalf("frame %d was written to after it was lent", i)
		}
	}
}

func (l *testLender) put(t *testing.T, msg string, queues ...*Queue) {
	t.Helper()
	frame := l.lend([]byte(msg))
	for _, q := range queues {
		if _, err := q.PutLent(frame, &noLimit); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLentFramesThatFollowEachOtherAreWrittenFromWhereTheyLie(t *testing.T) {
	var l testLender
	one, two := new(Queue), new(Queue)
	for _, msg := range []string{"a", "bc", "", "def"} {
		l.put(t, msg, one, two)
	}
	for _, q := range []*Queue{one, two} {
		rest := take(t, q).Rest()
		if string(rest) != "abcdef" || &rest[0] != &l.lent[0][0] {
			t.Errorf("%q is to be written, which was copied or is another", rest)
		}
	}
}

func TestALentFrameAmongOthersIsCopied(t *testing.T) {
	var l testLender
	alone, q := new(Queue), new(Queue)
	l.put(t, "a", q, alone)
	l.put(t, "for alone", alone)
	l.put(t, "b", q, alone) // does not follow a in q
	put(t, q, "own")
	l.put(t, "c", q, alone)
	b := take(t, q)
	if rest := b.Rest(); string(rest) != "abownc" {
		t.Errorf("%q is to be written, want %q", rest, "abownc")
	}
	if _, err := q.Wrote(b, b.Unwritten()); err != nil {
		t.Fatal(err)
	}
	if rest := take(t, alone).Rest(); string(rest) != "afor alonebc" {
		t.Errorf("%q is to be written to the other", rest)
	}
	l.mustBeUnchanged(t)
}

func TestStorageThatWasLentIsNoBatchsOwnAfterwards(t *testing.T) {
	var l testLender
	for range 100 { // a Batch may come from the pool, or not
		b := NewDraft()
		b.SetFrame([]byte("storage"))
		b.Free()
		q := new(Queue)
		l.put(t, "lent", q)
		b = take(t, q)
		if _, err := q.Wrote(b, b.Unwritten()); err != nil {
			t.Fatal(err)
		}
		put(t, q, "own") // would fit where "lent" lies
	}
	l.mustBeUnchanged(t)
}

func TestTheOldestOfLentFramesAreDropped(t *testing.T) {
	var l testLender
	q, limit := new(Queue), Limit{Messages: 2, Drop: true}
	for _, msg := range []string{"a", "b", "c", "d"} {
		if _, err := q.PutLent(l.lend([]byte(msg)), &limit); err != nil {
			t.Fatal(err)
		}
	}
	if rest := take(t, q).Rest(); string(rest) != "cd" || q.Counters().Dropped != 2 {
		t.Errorf("%q is to be written and %d were dropped, want cd and 2", rest, q.Counters().Dropped)
	}
	l.mustBeUnchanged(t)
}
