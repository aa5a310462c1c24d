package demo

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/history"
)

// An audit compares what was acknowledged with what was heard.
type audit struct {
	acked                   int // messages
	due                     int // how often those should be heard: one to a group several times
	lost, twice, disordered int // of what was or should have been heard
	failed                  error
}

// ok says whether everything was heard in order and once.
func (a audit) ok() bool {
	return a.acked > 0 && a.lost == 0 && a.twice == 0 && a.disordered == 0 && a.failed == nil
}

func (a audit) String() string {
	text := fmt.Sprintf("%s messages acknowledged, %s deliveries: %s lost, %s twice, %s out of order",
		thousands(a.acked), thousands(a.due), thousands(a.lost), thousands(a.twice), thousands(a.disordered))
	if a.failed != nil {
		text += fmt.Sprintf("; failed: %v", a.failed)
	}
	return text
}

func (t *talk) audit() audit {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := audit{acked: len(t.acks), failed: t.failed}
	for p, numbers := range t.acked {
		a.due += len(numbers)
		a.lost += lost(numbers, t.heard[p])
	}
	for _, numbers := range t.heard {
		twice, disordered := countUnruly(numbers)
		a.twice += twice
		a.disordered += disordered
	}
	return a
}

// lost counts the acknowledged numbers that were not heard.
func lost(acked, heard []int) (n int) {
	known := make(map[int]bool, len(heard))
	for _, number := range heard {
		known[number] = true
	}
	for _, number := range acked {
		if !known[number] {
			n++
		}
	}
	return n
}

// countUnruly counts, of the numbers of one sender, those that were heard before and those that are older than one before them.
func countUnruly(heard []int) (twice, disordered int) {
	known := make(map[int]bool, len(heard))
	newest := -1
	for _, number := range heard {
		switch {
		case known[number]:
			twice++
		case number < newest:
			disordered++
		}
		known[number] = true
		newest = max(newest, number)
	}
	return twice, disordered
}

// percentiles returns the 50th and the 99th.
func percentiles(durations []time.Duration) (p50, p99 time.Duration) {
	if len(durations) == 0 {
		return 0, 0
	}
	slices.Sort(durations)
	n := len(durations)
	return durations[n/2], durations[n*99/100]
}

// total looks at everything that was said, in the users' records and in the store.
func (d *demo) total(ctx context.Context) error {
	var sum audit
	for _, t := range d.talks.all {
		a := t.audit()
		sum.acked += a.acked
		sum.due += a.due
		sum.lost += a.lost
		sum.twice += a.twice
		sum.disordered += a.disordered
	}
	d.report.promise(sum.ok(), "all messages", "%v", sum)
	messages, ids, err := d.stored(ctx)
	if err != nil {
		return err
	}
	d.report.promise(messages == sum.acked && ids == messages, "message ids", "%s messages are stored, under %s different ids",
		thousands(messages), thousands(ids))
	return nil
}

// stored counts the messages in the store, and their ids.
func (d *demo) stored(ctx context.Context) (messages, ids int, err error) {
	h, err := history.Open(ctx, d.s.Running()[0].Node.Conn(), history.Options{})
	if err != nil {
		return 0, 0, err
	}
	queries := make(map[string]history.Query)
	for _, u := range d.users {
		queries[fmt.Sprint("user ", u.id)] = history.Query{User: u.id}
		queries[fmt.Sprint("group ", u.group)] = history.Query{Groups: map[int64]int64{u.group: 0}, Own: true}
	}
	known := make(map[int64]bool)
	for _, q := range queries {
		for more := true; more; {
			page, err := h.Read(ctx, q)
			if err != nil {
				return 0, 0, err
			}
			for _, r := range page.Records {
				messages++
				known[r.ID] = true
			}
			q.After, more = page.Next, page.More
		}
	}
	return messages, len(known), nil
}
