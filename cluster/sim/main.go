// Command sim drives many nodes of a cluster in one process, on a few embedded NATS servers, and prints what they cost:
// what they say when nothing happens, what a login takes, and how long others wait for one node that is far away or
// stopped.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"strconv"
	"strings"
	"time"
)

func main() {
	sizes := flag.String("nodes", "5,10,20,40,100", "numbers of nodes")
	span := flag.Duration("for", 5*time.Second, "how long each measurement takes")
	away := flag.Duration("away", 300*time.Millisecond, "how far away the slow node is, each way")
	flag.Parse()
	if err := run(context.Background(), *sizes, *span, *away); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, sizes string, span, away time.Duration) error {
	fmt.Println("| nodes | idle, kB/s out of NATS: payload | with its protocol | messages a login | login p50 / p99 | presence p50 / p99 | acknowledged sends/s | p99 |")
	fmt.Println("|--:|--:|--:|--:|--:|--:|--:|--:|")
	for size := range strings.SplitSeq(sizes, ",") {
		count, err := strconv.Atoi(size)
		if err != nil {
			return err
		}
		if err := measureSize(ctx, count, span); err != nil {
			return fmt.Errorf("%d nodes: %w", count, err)
		}
	}
	fmt.Println("\n| one of 10 nodes is | login p50 / p99 | presence p50 / p99 |")
	fmt.Println("|---|--:|--:|")
	for _, h := range []harm{
		{"well", func(*member) {}},
		{fmt.Sprintf("%v away", away), func(m *member) { m.wire.delay(away) }},
		{"stopped", func(m *member) { m.wire.stop() }},
	} {
		if err := measureHarm(ctx, h, span); err != nil {
			return fmt.Errorf("%s: %w", h.name, err)
		}
	}
	fmt.Print(million)
	return nil
}

func measureSize(ctx context.Context, count int, span time.Duration) error {
	f, err := newFleet(ctx, count)
	if err != nil {
		return err
	}
	defer f.close()
	payload, wire := f.idle(span)
	logins, err := f.logins(ctx, f.members, span)
	if err != nil {
		return err
	}
	presence, err := f.presence(ctx, f.members, logins.users, span)
	if err != nil {
		return err
	}
	sends, err := f.sends(ctx, logins.users, span)
	if err != nil {
		return err
	}
	fmt.Printf("| %d | %.0f | %.0f | %.1f | %s | %s | %.0f | %v |\n", count, payload/1e3, wire/1e3, logins.messages,
		both(logins.took), both(presence), float64(len(sends))/span.Seconds(), at(sends, 0.99))
	return nil
}

// harm is what is done to one of ten nodes, which the others then do without.
type harm struct {
	name string
	do   func(*member)
}

func measureHarm(ctx context.Context, h harm, span time.Duration) error {
	f, err := newFleet(ctx, 10)
	if err != nil {
		return err
	}
	defer f.close()
	others := f.members[1:]
	before, err := f.logins(ctx, others, span/5)
	if err != nil {
		return err
	}
	h.do(f.members[0])
	logins, err := f.logins(ctx, others, span)
	if err != nil {
		return err
	}
	presence, err := f.presence(ctx, others, append(before.users, logins.users...), span)
	if err != nil {
		return err
	}
	fmt.Printf("| %s | %s | %s |\n", h.name, both(logins.took), both(presence))
	return nil
}

// million is arithmetic, and no measurement; its parts are measured in the tables and by the module's benchmarks.
const million = `
1,000,000 users on 100 nodes, by arithmetic:

| | |
|---|---|
| users a node holds | 10,000, at 2.9 KB: 29 MB a node, sessions not counted |
| logins that a node knows as a home | 30,000, at 0.15 KB: 4.5 MB a node |
| heartbeats | 100 × 100 × 2/s = 20,000 messages/s in all, 20 bytes each: 400 kB/s; each node hears 200/s |
| all log in within 10 minutes | 1,667 logins/s × 6 = 10,000 messages/s in all, 100/s a node |
| one node fails | 3 % of the users get another home: 30,000 logins three times, in batches to a node from each other: 99 × 3 small messages a node |
| one node joins | as many; each node tells it of the 300 users that it becomes a home of |
`
