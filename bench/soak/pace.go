package main

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"
)

// A pace keeps what both processes use of the processors near a number: everything that clients begin waits for it.
type pace struct {
	load     float64      // cores
	interval atomic.Int64 // on average, of one client
}

const (
	shortestInterval = time.Millisecond
	longestInterval  = 3 * time.Second
)

func newPace(load float64) *pace {
	p := &pace{load: load}
	p.interval.Store(int64(200 * time.Millisecond))
	return p
}

// wait returns false when ctx has ended.
func (p *pace) wait(ctx context.Context) bool {
	timer := time.NewTimer(time.Duration(rand.Int64N(2*p.interval.Load() + 1)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// keep adjusts the interval once a second until ctx ends.
func (p *pace) keep(ctx context.Context, server int) {
	used := func() time.Duration { return cpuTime("self") + cpuTime(strconv.Itoa(server)) }
	last, at := used(), time.Now()
	for ctx.Err() == nil {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return
		}
		now, u := time.Now(), used()
		p.adjust((u - last).Seconds() / now.Sub(at).Seconds())
		last, at = u, now
	}
}

func (p *pace) adjust(cores float64) {
	factor := min(max(cores/p.load, 0.7), 1.4)
	interval := time.Duration(float64(p.interval.Load()) * factor)
	p.interval.Store(int64(min(max(interval, shortestInterval), longestInterval)))
}
