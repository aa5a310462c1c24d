package demo

import (
	"context"
	"fmt"

	"github.com/libnet-go/libnet/examples/im/internal/history"
	"github.com/libnet-go/libnet/examples/im/internal/trial"
)

// total looks at everything that was said, in the users' records and in the store.
func (d *demo) total(ctx context.Context) error {
	sum := d.crowd.Audit()
	d.report.Promise(sum.OK(), "all messages", "%v", sum)
	messages, ids, err := d.stored(ctx)
	if err != nil {
		return err
	}
	d.report.Promise(messages == sum.Acked && ids == messages, "message ids", "%s messages are stored, under %s different ids",
		trial.Thousands(messages), trial.Thousands(ids))
	return nil
}

// stored counts the messages in the store, and their ids.
func (d *demo) stored(ctx context.Context) (messages, ids int, err error) {
	h, err := history.Open(ctx, d.s.Running()[0].Node.Conn(), history.Options{})
	if err != nil {
		return 0, 0, err
	}
	queries := make(map[string]history.Query)
	for _, u := range d.crowd.Users {
		queries[fmt.Sprint("user ", u.ID)] = history.Query{User: u.ID}
		queries[fmt.Sprint("group ", u.Group)] = history.Query{Groups: map[int64]int64{u.Group: 0}, Own: true}
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
