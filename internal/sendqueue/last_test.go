package sendqueue

import "testing"

// A peer that gets the bytes that end the stream twice has been told something behind the end.
func TestTheBytesThatEndAStreamAreWrittenOnceThoughTheQueueIsClosedMeanwhile(t *testing.T) {
	for name, before := range map[string]int{"in flight with the last message": 10, "behind a batch in flight": keptBatch} {
		t.Run(name, func(t *testing.T) {
			var q Queue
			if _, err := q.PutCopy(Header{}, make([]byte, before), &NoLimit); err != nil {
				t.Fatal(err)
			}
			q.Drain([]byte("last"))
			b := q.Take()
			inFlight := b.Unwritten() > before
			q.Close()
			if next, err := q.Wrote(b, b.Unwritten()); next != nil || err != nil {
				t.Fatalf("a closed queue goes on with %v, %v", next, err)
			}
			now, soon := q.TakesLast(false)
			if q.LastIsOut() != inFlight || now == inFlight || soon {
				t.Errorf("in flight %v: LastIsOut %v, TakesLast %v, %v", inFlight, q.LastIsOut(), now, soon)
			}
		})
	}
}

// The flush may have written all and not said so yet: without the wait the peer never learned why the session ended.
func TestTheOwnerOfAClosedQueueWaitsForAFlushThatHasWrittenAPart(t *testing.T) {
	var q Queue
	if _, err := q.PutCopy(Header{}, make([]byte, 100), &NoLimit); err != nil {
		t.Fatal(err)
	}
	b := q.Take()
	if next, err := q.Wrote(b, 60); next != b || err != nil {
		t.Fatal(next, err)
	}
	q.Close()
	if now, soon := q.TakesLast(false); now || !soon {
		t.Errorf("while the rest is being written: now %v, soon %v", now, soon)
	}
	if next, err := q.Wrote(b, 40); next != nil || err != nil {
		t.Fatal(next, err)
	}
	if now, _ := q.TakesLast(false); !now {
		t.Error("refused behind whole frames")
	}
}
