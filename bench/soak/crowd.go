package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libnet-go/libnet"
)

// A crowd is the clients of one round.
type crowd struct {
	ctx       context.Context // ends with the round
	addresses map[string]string
	pace      *pace
	faults    *faults
	stopping  atomic.Bool // the stations are being shut down: what does not come then is no fault
	counts    map[string]*count
}

// A count is what all clients of a station saw.
type count struct {
	received atomic.Uint64 // messages, heartbeats included
	missed   atomic.Uint64 // numbers that were left out
}

func newCrowd(ctx context.Context, addresses map[string]string, pace *pace, f *faults) *crowd {
	c := &crowd{ctx: ctx, addresses: addresses, pace: pace, faults: f, counts: map[string]*count{}}
	for _, st := range stations {
		c.counts[st.name] = new(count)
	}
	return c
}

// run has all of them visit the stations until the round ends.
func (c *crowd) run(times float64) {
	var wg sync.WaitGroup
	for _, h := range habits {
		for range max(1, int(float64(h.clients)*times+0.5)) {
			wg.Go(func() { c.repeat(h) })
		}
	}
	wg.Wait()
}

func (c *crowd) repeat(h habit) {
	var places []*station
	for i := range stations {
		if h.goesTo(&stations[i]) {
			places = append(places, &stations[i])
		}
	}
	for c.pace.wait(c.ctx) {
		h.visit(c, places[rand.IntN(len(places))])
	}
}

func (c *crowd) received(st *station) { c.counts[st.name].received.Add(1) }

// inOrder looks at two numbers that a client received one behind the other. A member of a hub begins with any.
func (c *crowd) inOrder(st *station, last, n uint64) {
	switch {
	case st.hub && last == 0:
	case n <= last, n > last+1 && st.onFull != libnet.DropOldest:
		c.faults.add("%s: message %d came behind %d", st.name, n, last)
	default:
		c.counts[st.name].missed.Add(n - last - 1)
	}
}

// fault notes what may only happen to a client whose station is being stopped.
func (c *crowd) fault(format string, args ...any) {
	if !c.stopping.Load() && c.ctx.Err() == nil {
		c.faults.add("%w", fmt.Errorf(format, args...))
	}
}

// check compares what the stations counted with what their clients saw.
func (c *crowd) check(accounts []account) {
	for _, a := range accounts {
		for _, text := range a.Faults {
			c.faults.add("%s", text)
		}
		n := c.counts[a.Station]
		if received := n.received.Load(); received > a.Out {
			c.faults.add("%s: clients received %d messages of %d written", a.Station, received, a.Out)
		}
		if missed := n.missed.Load(); missed > a.Discarded {
			c.faults.add("%s: clients missed %d messages, %d were discarded", a.Station, missed, a.Discarded)
		}
	}
}

// sleep returns false when the round has ended.
func (c *crowd) sleep(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-c.ctx.Done():
		return false
	}
}

// faults is a list with a bound. Its methods may be called by any goroutine.
type faults struct {
	mu    sync.Mutex
	first []string
	all   int
}

const keptFaults = 40

func (f *faults) add(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all++; len(f.first) < keptFaults {
		f.first = append(f.first, time.Now().UTC().Format("15:04:05 ")+fmt.Errorf(format, args...).Error())
	}
}

func (f *faults) list() (first []string, all int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.first...), f.all
}
