package quota_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/quota"
	"github.com/libnet-go/libnet/libnettest"
)

func TestMain(m *testing.M) { libnettest.VerifyMain(m) }

// memory keeps records.
type memory struct {
	mu        sync.Mutex
	records   map[int64][]byte
	revisions map[int64]uint64
	saves     int
	broken    error
	held      chan struct{} // a Save waits for its end; nil: it does not
}

func newMemory() *memory {
	return &memory{records: make(map[int64][]byte), revisions: make(map[int64]uint64)}
}

func (m *memory) Load(_ context.Context, user int64) ([]byte, uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.records[user], m.revisions[user], m.broken
}

func (m *memory) Save(ctx context.Context, user int64, record []byte, revision uint64) (uint64, error) {
	if m.held != nil {
		select {
		case <-m.held:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return 0, m.broken
	}
	if revision != m.revisions[user] {
		return 0, quota.ErrChanged
	}
	m.saves++
	m.records[user] = record
	m.revisions[user]++
	return m.revisions[user], nil
}

// store stores as many messages as it may, up to a number, and returns how many, and what stopped it.
func store(t *testing.T, a *quota.Account, box string, bytes, most int) (n int, err error) {
	t.Helper()
	for ; n < most; n++ {
		if err := a.Check(t.Context(), quota.Message{Box: box, Bytes: bytes}); err != nil {
			return n, err
		}
		a.Stored(quota.Message{Box: box, Bytes: bytes}, int64(n+1))
		_ = a.Settle(t.Context())
	}
	return n, nil
}

func want(t *testing.T, what string, n int, err error, wantN int, wantErr error) {
	t.Helper()
	if n != wantN || !errors.Is(err, wantErr) {
		t.Errorf("%s: %d messages, then %v; want %d, then %v", what, n, err, wantN, wantErr)
	}
}

func TestASenderHasABurstAndThenARate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := quota.New(newMemory(), quota.Limits{PerSecond: 5, Burst: 20}).Account(1)
		n, err := store(t, a, "u2", 1, 100)
		want(t, "at once", n, err, 20, quota.ErrTooFast)
		time.Sleep(2 * time.Second)
		n, err = store(t, a, "u2", 1, 100)
		want(t, "2 s later", n, err, 10, quota.ErrTooFast)
		time.Sleep(time.Hour)
		n, err = store(t, a, "u2", 1, 100)
		want(t, "an hour later", n, err, 20, quota.ErrTooFast)
	})
}

func TestASenderHasAShareOfEachBoxThatComesBackWithAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := quota.New(newMemory(), quota.Limits{PerSecond: -1, Share: 10, Span: 10 * time.Hour}).Account(1)
		n, err := store(t, a, "u2", 1, 100)
		want(t, "to one", n, err, 10, quota.ErrShare)
		n, err = store(t, a, "g2", 1, 100)
		want(t, "to another", n, err, 10, quota.ErrShare)
		time.Sleep(3 * time.Hour)
		n, err = store(t, a, "u2", 1, 100)
		want(t, "3 h later", n, err, 3, quota.ErrShare)
	})
}

func TestASenderHasAShareOfTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := quota.New(newMemory(), quota.Limits{PerSecond: -1, Bytes: 1000, Span: 10 * time.Hour}).Account(1)
		n, err := store(t, a, "u2", 300, 100)
		want(t, "at once", n, err, 3, quota.ErrTooMuch)
		time.Sleep(5 * time.Hour)
		n, err = store(t, a, "u3", 300, 100)
		want(t, "5 h later", n, err, 2, quota.ErrTooMuch)
		time.Sleep(20 * time.Hour)
		n, err = store(t, a, "u3", 5000, 100)
		want(t, "one that is larger than all", n, err, 1, quota.ErrTooMuch)
	})
}

func TestMessagesThatAreKeptForEverNeverComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := quota.New(newMemory(), quota.Limits{PerSecond: -1, Share: 10, Span: -1}).Account(1)
		_, _ = store(t, a, "u2", 1, 100)
		time.Sleep(1000 * time.Hour)
		n, err := store(t, a, "u2", 1, 100)
		want(t, "1,000 h later", n, err, 0, quota.ErrShare)
	})
}

func TestNegativeLimitsAreNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := quota.New(newMemory(), quota.Limits{PerSecond: -1, Share: -1, Bytes: -1}).Account(1)
		n, err := store(t, a, "u2", 1<<30, 20_000)
		want(t, "at once", n, err, 20_000, nil)
	})
}

func TestANewLoginHasWhatTheOneBeforeHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := quota.New(newMemory(), quota.Limits{Share: 10, Burst: 15, PerSecond: 1, Span: 1000 * time.Hour})
		for range 4 {
			a := q.Account(1)
			_, _ = store(t, a, "u2", 1, 4)
			if err := a.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		n, err := store(t, q.Account(1), "u2", 1, 100)
		want(t, "the fifth login", n, err, 0, quota.ErrShare)
		n, err = store(t, q.Account(1), "u3", 1, 100)
		want(t, "to another", n, err, 5, quota.ErrTooFast)
		n, err = store(t, q.Account(2), "u2", 1, 4)
		want(t, "another user", n, err, 4, nil)
	})
}

func TestTwoSessionsOfOneUserRecordWhatBothTook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := quota.New(newMemory(), quota.Limits{PerSecond: -1, Share: 100, Span: 1000 * time.Hour})
		a, b := q.Account(1), q.Account(1)
		for range 10 {
			_, _ = store(t, a, "u2", 1, 3)
			_, _ = store(t, b, "u2", 1, 4)
		}
		if err := errors.Join(a.Close(t.Context()), b.Close(t.Context())); err != nil {
			t.Fatal(err)
		}
		n, err := store(t, q.Account(1), "u2", 1, 100)
		want(t, "after both", n, err, 30, quota.ErrShare)
	})
}

func TestRecordsAreSeldomSavedAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		a := quota.New(m, quota.Limits{PerSecond: -1}).Account(1)
		for i := range 3200 {
			_, _ = store(t, a, fmt.Sprint("u", i), 1, 1)
		}
		_, _ = store(t, a, "u1", 1, 5)
		if m.saves != 100 {
			t.Errorf("saved %d times", m.saves)
		}
		if err := a.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(m.records[1]); n > 20_000 {
			t.Errorf("a record of %d bytes", n)
		}
	})
}

func TestRecordsThatCannotBeReadAreAnErrorAndThoseThatCannotBeSavedAreSavedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		q := quota.New(m, quota.Limits{PerSecond: -1, Share: 100, Span: 1000 * time.Hour})
		m.broken = errors.New("no store")
		if err := q.Account(1).Check(t.Context(), quota.Message{Box: "u2", Bytes: 1}); err != m.broken {
			t.Errorf("checked without a record: %v", err)
		}
		m.broken = nil
		a := q.Account(1)
		_, _ = store(t, a, "u2", 1, 1)
		m.broken = errors.New("no store")
		_, _ = store(t, a, "u2", 1, 50)
		m.broken = nil
		if err := a.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		m.records[2], m.revisions[2] = []byte("no record"), 1
		n, err := store(t, q.Account(1), "u2", 1, 100)
		want(t, "later", n, err, 49, quota.ErrShare)
		n, err = store(t, q.Account(2), "u2", 1, 3)
		want(t, "with a record that is none", n, err, 3, nil)
	})
}

// A bucket without a leader answers nothing for seconds. Nothing that was taken meanwhile is forgotten.
func TestAMessageDoesNotWaitForTheRecordingOfTheOneBefore(t *testing.T) {
	for _, held := range []time.Duration{2 * time.Second, time.Hour} { // it is recorded late; it fails, and is the next one's
		synctest.Test(t, func(t *testing.T) {
			m := newMemory()
			m.held = make(chan struct{})
			q := quota.New(m, quota.Limits{PerSecond: -1, Share: 1000, Span: 1e6 * time.Hour})
			a, began := q.Account(1), time.Now()
			take := func(n int) {
				for range n {
					if err := a.Check(t.Context(), quota.Message{Box: "u2", Bytes: 1}); err != nil {
						t.Fatal(err)
					}
					a.Stored(quota.Message{Box: "u2", Bytes: 1}, 1)
				}
			}
			take(32)
			time.AfterFunc(held, func() { close(m.held) })
			recorded := make(chan struct{})
			go func() {
				defer close(recorded)
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				_ = a.Settle(ctx)
			}()
			synctest.Wait()
			take(96)
			if took := time.Since(began); took != 0 || a.Due() {
				t.Errorf("96 messages waited %v for a recording; another is due: %v", took, a.Due())
			}
			take(1)
			if took, want := time.Since(began), min(held, 3*time.Second); took != want {
				t.Errorf("one more waited %v, want %v: nobody takes without a bound what is not recorded", took, want)
			}
			<-recorded
			if err := a.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			n, err := store(t, q.Account(1), "u2", 1, 2000)
			want(t, "after it", n, err, 1000-129, quota.ErrShare)
		})
	}
}

// Their clocks differ by less than a minute: who goes from one to the other and back gains nothing.
func TestWhoChangesBetweenServersWithDifferentClocksGainsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quotas := quota.New(newMemory(), quota.Limits{PerSecond: 5, Burst: 20})
		clock, behind := quotas, quotas.At(func() time.Time { return time.Now().Add(-30 * time.Second) })
		total := 0
		for range 5 {
			for _, q := range []*quota.Quotas{clock, behind} {
				a := q.Account(1)
				n, _ := store(t, a, "u2", 1, 7)
				total += n
				if err := a.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if total != 20 {
			t.Errorf("%d messages at once, of 20", total)
		}
		// A clock that is an hour ahead locks nobody out for as long.
		ahead := quotas.At(func() time.Time { return time.Now().Add(time.Hour) }).Account(1)
		n, err := store(t, ahead, "u2", 1, 100)
		want(t, "an hour ahead", n, err, 20, quota.ErrTooFast)
		if err := ahead.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Second)
		a := quotas.Account(1)
		_, _ = store(t, a, "u2", 1, 100) // brings the bucket to this clock
		time.Sleep(4 * time.Second)
		n, err = store(t, a, "u2", 1, 100)
		want(t, "back from the clock ahead", n, err, 20, quota.ErrTooFast)
	})
}

func TestWhatElseIsWrittenCountsAsAMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quotas := quota.New(newMemory(), quota.Limits{PerSecond: 5, Burst: 20})
		for login := range 3 { // coming again is of no use
			a, n := quotas.Account(1), 0
			for a.Write(t.Context()) == nil {
				n++
			}
			if login == 0 && n != 20 || login > 0 && n != 0 {
				t.Errorf("login %d: %d at once", login, n)
			}
			if err := a.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		n, err := store(t, quotas.Account(1), "u2", 1, 100)
		want(t, "messages after that", n, err, 5, quota.ErrTooFast)
	})
}

func TestARepetitionThatTheStoreTakesForAnotherMessageIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := quota.New(newMemory(), quota.Limits{PerSecond: -1, Share: 2, Span: -1}).Account(1)
		m := quota.Message{Box: "u2", Bytes: 1, Once: "m"}
		say := func(version int64) error {
			err := a.Check(t.Context(), m)
			if err == nil {
				a.Stored(m, version)
			}
			return err
		}
		for _, version := range []int64{1, 1, 2, 2} { // 2: it was forgotten meanwhile
			if err := say(version); err != nil {
				t.Fatalf("version %d: %v", version, err)
			}
		}
		time.Sleep(2 * time.Minute)
		if err := say(2); err != quota.ErrShare {
			t.Errorf("long after: %v", err)
		}
	})
}
