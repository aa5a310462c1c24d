package sendqueue

import (
	"bytes"
	"testing"
)

// A testLender makes frames for PutLent, as the root package's flusher does.
type testLender struct {
	run         []byte
	runs, wants [][]byte
}

func (l *testLender) lend(frame []byte) []byte {
	if len(frame) > cap(l.run)-len(l.run) {
		l.run = make([]byte, 0, max(len(frame), 4<<10))
		l.runs, l.wants = append(l.runs, l.run), append(l.wants, nil)
	}
	at, last := len(l.run), len(l.wants)-1
	l.run = append(l.run, frame...)
	l.wants[last] = append(l.wants[last], frame...)
	return l.run[at:]
}

// mustBeUnchanged looks at what was lent, which several queues read.
func (l *testLender) mustBeUnchanged(t *testing.T) {
	t.Helper()
	for i, want := range l.wants {
		if !bytes.Equal(l.runs[i][:len(want)], want) {
			t.Fatalf("run %d of lent frames was written to", i)
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
		if string(rest) != "abcdef" || &rest[0] != &l.run[0] {
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
