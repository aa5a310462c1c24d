package history_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/history"
)

func TestWhatIsAcknowledgedIsReadAtOnceOnAnyServer(t *testing.T) {
	fleet := openFleet(t, history.Options{})
	var want []string
	for i := range 300 {
		text := fmt.Sprint(i)
		want = append(want, text)
		version := store(t, fleet[i%3], history.Message{ID: int64(i + 1), Source: 1, Target: 2, ClientID: text, Text: text})
		page, err := fleet[(i+1)%3].Read(t.Context(), history.Query{User: 2, After: version - 1})
		if err != nil || len(page.Records) != 1 || page.Records[0].Msg != text || page.Next != version {
			t.Fatalf("message %d, version %d: %v, %v", i, version, page, err)
		}
	}
	if got, _, _ := readAll(t, fleet[2], history.Query{User: 2}); !slices.Equal(got, want) {
		t.Errorf("read %d messages, want %d", len(got), len(want))
	}
}

// Pages follow each other while several write, at other servers, to what the reader reads: nothing may be passed by.
func TestNothingIsSkippedWhileOthersWrite(t *testing.T) {
	fleet := openFleet(t, history.Options{})
	const writers, each = 6, 60
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				m := history.Message{ID: int64(w*1000 + i + 1), Source: int64(w + 10), Text: fmt.Sprint(w, " ", i)}
				if m.Target = 2; w%2 == 0 {
					m.Target, m.Group = 0, int64(w+1)
				}
				if _, err := fleet[w%3].Store(t.Context(), m); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var reading sync.WaitGroup
	for i, h := range fleet {
		reading.Go(func() {
			q := history.Query{User: 2, Groups: map[int64]int64{1: 0, 3: 0, 5: 0}}
			heard := make(map[string]int)
			for total, late := 0, time.Now().Add(30*time.Second); total < writers*each; {
				page, err := h.Read(t.Context(), q)
				if err != nil || time.Now().After(late) {
					t.Errorf("reader %d: %d of %d, %v", i, total, writers*each, err)
					return
				}
				for _, r := range page.Records {
					var w, n int
					if _, err := fmt.Sscan(r.Msg, &w, &n); err != nil || heard[fmt.Sprint(w)] != n {
						t.Errorf("reader %d: %q after %d of its sender", i, r.Msg, heard[fmt.Sprint(w)])
						return
					}
					heard[fmt.Sprint(w)]++
				}
				total += len(page.Records)
				q.After = page.Next
			}
		})
	}
	writing.Wait()
	reading.Wait()
}
