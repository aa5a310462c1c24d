package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libnet-go/libnet/examples/im/internal/client"
	"github.com/libnet-go/libnet/examples/im/internal/history"
)

// spread has clients connect where the gateway sends them, a few at a time, and stay.
func (d *demo) spread(ctx context.Context) error {
	d.note("%s clients connect", thousands(d.o.clients))
	const atOnce = 32
	conns := make([]net.Conn, d.o.clients)
	errs := make([]error, atOnce)
	defer func() {
		for _, conn := range conns {
			if conn != nil {
				_ = conn.Close()
			}
		}
	}()
	var dialing sync.WaitGroup
	for worker := range atOnce {
		dialing.Go(func() {
			for i := worker; i < len(conns) && errs[worker] == nil; i += atOnce {
				conns[i], errs[worker] = d.connect(ctx)
			}
		})
	}
	dialing.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	failed := slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(failed) > 0 {
		d.report.promise(false, "spread", "a client could not connect: %v", failed[0])
		return nil
	}
	d.promiseSpread(ctx)
	return nil
}

func (d *demo) promiseSpread(ctx context.Context) {
	var loads []int
	until(ctx, patience, func() bool {
		loads = loads[:0]
		total := 0
		for _, server := range d.s.running() {
			loads = append(loads, server.server.Load())
			total += server.server.Load()
		}
		return total == d.o.clients
	})
	least, most := slices.Min(loads), slices.Max(loads)
	uneven := float64(most) / float64(max(least, 1))
	d.report.promise(uneven <= d.o.limits.uneven && least > 0, "spread", "%s clients at %d access servers: %s, max/min %.3f (at most %.2f)",
		thousands(d.o.clients), len(loads), sumOf(loads), uneven, d.o.limits.uneven)
}

// connect is the beginning of a client that goes no further.
func (d *demo) connect(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	server, err := client.Pick(ctx, d.s.gateway.server.Addr())
	if err != nil {
		return nil, err
	}
	return new(net.Dialer).DialContext(ctx, "tcp", server)
}

func sumOf(numbers []int) string {
	var texts []string
	for _, n := range numbers {
		texts = append(texts, thousands(n))
	}
	return strings.Join(texts, " + ")
}

// talk has users talk while nothing fails.
func (d *demo) talk(ctx context.Context) error {
	d.answers = startAnswers(d.s.gateway.server.Addr())
	d.note("they talk")
	t := d.startTalk(ctx)
	if err := d.forge(ctx); err != nil {
		return err
	}
	pause(ctx, 2*d.o.talking)
	a, err := d.finish(ctx, t)
	if err != nil {
		return err
	}
	d.report.promise(a.ok(), "messages", "%v", a)
	t.mu.Lock()
	defer t.mu.Unlock()
	ack50, ack99 := percentiles(t.acks)
	hear50, hear99 := percentiles(t.hears)
	const unit = 10 * time.Microsecond
	d.note("stored and acknowledged after %v (p99 %v), heard after %v (p99 %v)",
		ack50.Round(unit), ack99.Round(unit), hear50.Round(unit), hear99.Round(unit))
	return nil
}

// total looks at everything that was said, in the users' books and in the store.
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
	h, err := history.Open(ctx, d.s.running()[0].node.Conn(), history.Options{})
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
