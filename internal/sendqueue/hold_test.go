package sendqueue

import (
	"reflect"
	"testing"
)

var noLimit = NoLimit

func put(t *testing.T, q *Queue, msgs ...string) (by By) {
	t.Helper()
	for _, msg := range msgs {
		var err error
		if by, err = q.PutCopy(Header{}, []byte(msg), &noLimit); err != nil {
			t.Fatal(err)
		}
	}
	return by
}

// take begins the flush that was left to another.
func take(t *testing.T, q *Queue) *Batch {
	t.Helper()
	if !q.TakeOver() {
		t.Fatal("no flush was begun")
	}
	return q.Take()
}

func mustHold(t *testing.T, q *Queue) {
	t.Helper()
	if !q.Hold() {
		t.Fatal("somebody still writes")
	}
}

func mustSeal(t *testing.T, q *Queue) Contents {
	t.Helper()
	c, ok := q.Seal()
	if !ok {
		t.Fatal("the queue is not sealed")
	}
	return c
}

func TestNobodyWritesFromAHeldQueueAndWhatIsSentWaits(t *testing.T) {
	var q Queue
	put(t, &q, "one")
	mustHold(t, &q)
	if by := put(t, &q, "two"); by != ByNobody || q.Begin() || q.TakeOver() {
		t.Errorf("%v flushes a held queue", by)
	}
	if !q.Unhold() {
		t.Fatal("nobody flushes what has waited")
	}
	if b := q.Take(); string(b.Rest()) != "onetwo" {
		t.Errorf("%q is written", b.Rest())
	}
}

func TestAWriteUnderWayKeepsAQueueFromBeingHeldUntilItReturns(t *testing.T) {
	var q Queue
	put(t, &q, "first", "second")
	b := take(t, &q)
	if q.Hold() {
		t.Fatal("held while a write is under way")
	}
	if next, err := q.Wrote(b, 7); next != nil || err != nil {
		t.Fatalf("the flush goes on with %v, %v", next, err)
	}
	mustHold(t, &q)
	put(t, &q, "third")
	want := Contents{Sizes: []int{4, 5}, Bytes: []byte("condthird"), Cut: true, MessagesOut: 1, BytesOut: 7}
	if c := mustSeal(t, &q); !reflect.DeepEqual(c, want) {
		t.Errorf("%+v", c)
	}
	if q.Unhold(); q.Take() != b || string(b.Rest()) != "cond" {
		t.Errorf("it goes on with %q", b.Rest())
	}
}

func TestAHoldThatIsTakenBackBeforeItIsGrantedStopsNobody(t *testing.T) {
	var q Queue
	put(t, &q, "first")
	b := take(t, &q)
	if q.Hold() || q.Unhold() {
		t.Fatal("held, or a second flush has begun")
	}
	if next, err := q.Wrote(b, 2); next != b || err != nil {
		t.Errorf("the flush ends: %v, %v", next, err)
	}
}

func TestWhatIsHalfWrittenIsNotDropped(t *testing.T) {
	var q Queue
	put(t, &q, "first")
	b := take(t, &q)
	q.Hold()
	_, _ = q.Wrote(b, 2)
	limit := Limit{Messages: 2, Drop: true}
	for _, msg := range []string{"second", "third"} {
		if _, err := q.PutCopy(Header{}, []byte(msg), &limit); err != nil {
			t.Fatal(err)
		}
	}
	if c := mustSeal(t, &q); string(c.Bytes) != "rstthird" || c.Dropped != 1 || c.Discarded != 1 {
		t.Errorf("%+v", c)
	}
}

func TestASealedQueueRefusesMessagesUntilItIsUnheld(t *testing.T) {
	var q Queue
	put(t, &q, "one")
	if _, ok := q.Seal(); ok {
		t.Error("sealed without being held")
	}
	mustHold(t, &q)
	mustSeal(t, &q)
	for _, limit := range []Limit{noLimit, {Messages: 1, Drop: true}} {
		if _, err := q.PutCopy(Header{}, []byte("two"), &limit); err != ErrSealed {
			t.Errorf("a sealed queue takes a message: %v", err)
		}
	}
	if _, err := q.Write([]byte("pong"), 0, 100, true); err != ErrFull {
		t.Errorf("a sealed queue takes a message: %v", err)
	}
	if now, soon := q.TakesLast(true); now || soon {
		t.Error("who closes a sealed queue would write its last frame")
	}
	q.Unhold()
	put(t, &q, "two")
}

func TestAShutdownThatComesWhileAQueueIsSealedEndsItAfterwards(t *testing.T) {
	var q Queue
	put(t, &q, "one")
	mustHold(t, &q)
	mustSeal(t, &q)
	q.Drain([]byte("last"))
	if !q.Unhold() {
		t.Fatal("what was queued is not delivered")
	}
	if b := q.Take(); string(b.Rest()) != "onelast" {
		t.Errorf("%q is delivered", b.Rest())
	}
	if _, err := q.PutCopy(Header{}, []byte("two"), &noLimit); err != ErrClosed {
		t.Errorf("a message after the end: %v", err)
	}
}

func TestAQueueThatWasSealedTakesItsLastFrameFromWhoClosesIt(t *testing.T) {
	var q Queue
	put(t, &q, "one")
	mustHold(t, &q)
	mustSeal(t, &q)
	q.Drain(nil)
	if !q.Unhold() {
		t.Fatal("what was queued is not delivered")
	}
	b := q.Take()
	if _, err := q.Wrote(b, len(b.Rest())); err != nil {
		t.Fatal(err)
	}
	q.Close()
	if now, _ := q.TakesLast(false); !now {
		t.Error("a stream that ends with a whole frame takes no last one")
	}
}

func TestWhoWaitsForASealedQueueIsServedOnceItIsUnheld(t *testing.T) {
	for name, end := range map[string]func(*Queue){
		"unheld":      func(q *Queue) { q.Unhold() },
		"surrendered": func(q *Queue) { q.Surrender(); q.Close() },
		"drained":     func(q *Queue) { q.Drain(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			var q Queue
			mustHold(t, &q)
			mustSeal(t, &q)
			c := NewDraft()
			c.SetFrame(append(c.Room(), "room"...))
			room, by, err := q.LineUp(c, noLimit)
			if room == nil || by != ByNobody || err != nil {
				t.Fatal(room, by, err)
			}
			c = NewDraft()
			c.SetFrame(append(c.Room(), "turn"...))
			turn, queued, err := q.Claim(c, false)
			if turn == nil || queued || err != nil {
				t.Fatal(turn, queued, err)
			}
			end(&q)
			want := ErrClosed
			if name == "unheld" {
				want = nil
				if b := q.Take(); string(b.Rest()) != "room" {
					t.Errorf("%q is written first", b.Rest())
				} else if _, err := q.Wrote(b, len("room")); err != nil {
					t.Error(err)
				}
			}
			for _, w := range []*Waiter{room, turn} {
				if err := q.Await(Background, w); err != want {
					t.Errorf("%v; want %v", err, want)
				}
			}
		})
	}
}

func TestAHeldQueueThatIsClosedHasNothingToWaitFor(t *testing.T) {
	var q Queue
	put(t, &q, "one")
	mustHold(t, &q)
	q.Close()
	if q.Idle() != nil || q.Unhold() || q.Counters().Discarded != 1 {
		t.Errorf("%+v", q.Counters())
	}
	if q.Hold() {
		t.Error("a closed queue is held")
	}
}

func TestWhatAnotherHasIsNeitherWrittenNorDiscarded(t *testing.T) {
	var q Queue
	put(t, &q, "one")
	mustHold(t, &q)
	mustSeal(t, &q)
	q.Surrender()
	q.Close()
	if c := q.Counters(); c.Discarded != 0 || c.Messages != 0 || c.Bytes != 0 || c.MessagesOut != 0 {
		t.Errorf("%+v", c)
	}
}

func TestARestoredQueueWritesWhatTheOtherHadFirst(t *testing.T) {
	var from, to Queue
	put(t, &from, "first")
	b := take(t, &from)
	from.Hold()
	_, _ = from.Wrote(b, 3)
	put(t, &from, "second")
	if _, err := from.Write([]byte("pong"), 0, 100, true); err != nil {
		t.Fatal(err)
	}
	mustHold(t, &to)
	put(t, &to, "new")
	to.Restore(mustSeal(t, &from))
	if c := to.Counters(); c.Messages != 3 || c.Bytes != len("stsecondpongnew") || c.BytesOut != 3 {
		t.Errorf("%+v", c)
	}
	if !to.Unhold() {
		t.Fatal("nothing is flushed")
	}
	var wrote []byte
	for b := to.Take(); b != nil; {
		p := b.Rest()
		wrote = append(wrote, p...)
		b, _ = to.Wrote(b, len(p))
	}
	if c := to.Counters(); string(wrote) != "stsecondpongnew" || c.MessagesOut != 3 || c.BytesOut != 3+uint64(len(wrote)) || c.Bytes != 0 {
		t.Errorf("%q is written: %+v", wrote, c)
	}
}

// The half of a frame that another process has written cannot be taken back: closed then, the stream ends within it.
func TestARestoredQueueKnowsThatItsStreamIsWithinAFrame(t *testing.T) {
	var q Queue
	mustHold(t, &q)
	q.Restore(Contents{Sizes: []int{4, 5}, Bytes: []byte("restother"), Cut: true, BytesOut: 2})
	q.Unhold()
	q.Abandon()
	if now, soon := q.TakesLast(true); now || soon {
		t.Error("a last frame may be written within another")
	}
}

func TestASynchronousSendThatIsHeldLeavesACopyToTheQueue(t *testing.T) {
	var q Queue
	payload := []byte("payload")
	c := NewDraft()
	c.SetSplit([]byte("h"), payload)
	if w, queued, err := q.Claim(c, false); w != nil || queued || err != nil {
		t.Fatal(w, err)
	}
	q.Hold()
	if next, err := q.Wrote(c, 2); next != nil || err != nil {
		t.Fatal(next, err)
	}
	copy(payload, "XXXXXXX") // its Send has returned
	if c := mustSeal(t, &q); string(c.Bytes) != "ayload" {
		t.Errorf("%q", c.Bytes)
	}
	q.Close()
	if n := q.Counters().Discarded; n != 1 {
		t.Errorf("%d messages were discarded of one that its Send has reported as sent", n)
	}
}

func TestAHeldQueueTakesMessagesOfSynchronousSendsUpToABound(t *testing.T) {
	var q Queue
	q.Hold()
	payload := []byte("payload")
	claim := func(payload []byte) (w *Waiter, queued bool) {
		c := NewDraft()
		c.SetSplit([]byte("h"), payload)
		w, queued, err := q.Claim(c, false)
		if err != nil {
			t.Fatal(err)
		}
		return w, queued
	}
	for i := range heldMessages {
		if w, queued := claim(payload); w != nil || !queued {
			t.Fatalf("message %d is not queued", i)
		}
	}
	copy(payload, "XXXXXXX")
	w, queued := claim(payload)
	if w == nil || queued {
		t.Fatal("one more is queued")
	}
	if !q.Unhold() {
		t.Fatal("nothing is to be flushed")
	}
	if b := q.Take(); string(b.Rest()) != "h" || string(b.Pieces()[1]) != "payload" {
		t.Errorf("%q", b.Pieces())
	}
	q.Close()
	q.Abandon()
	if err := q.Await(Background, w); err != ErrClosed {
		t.Error(err)
	}
}

// A synchronous Send that is held leaves a header and, apart from it, a payload.
func TestAMessageInPiecesMakesRoomAsAnyOther(t *testing.T) {
	var q Queue
	mustHold(t, &q)
	for range 2 {
		msg := NewDraft()
		msg.SetSplit([]byte("head "), []byte("payload"))
		if _, queued, err := q.Claim(msg, false); !queued || err != nil {
			t.Fatalf("queued: %v, %v", queued, err)
		}
	}
	if _, err := q.Write([]byte("loose"), 0, 100, true); err != nil {
		t.Fatal(err)
	}
	limit := Limit{Messages: 2, Drop: true}
	for range 2 {
		if _, err := q.PutCopy(Header{}, []byte("new"), &limit); err != nil {
			t.Fatal(err)
		}
	}
	want := Contents{Sizes: []int{^5, 3, 3}, Bytes: []byte("loosenewnew"), Dropped: 2, Discarded: 2}
	if c := mustSeal(t, &q); !reflect.DeepEqual(c, want) {
		t.Errorf("%+v, %q", c, c.Bytes)
	}
}
