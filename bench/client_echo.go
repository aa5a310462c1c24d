package main

import (
	"cmp"
	"net"
	"time"
)

// echo keeps one window under way on each connection, or on so many at a time as the row says.
func (c *client) echo() (Result, error) {
	conns, err := c.dial(c.Row.Conns)
	if err != nil {
		return Result{}, err
	}
	return c.measure(c.walk(conns, cmp.Or(c.Row.Busy, len(conns))))
}

// walk keeps n windows under way; each of n goroutines takes the connections of its share in turn.
func (c *client) walk(conns []net.Conn, n int) drive {
	share := len(conns) / n
	return c.echoDrive(n, func(i, turn int) net.Conn { return conns[i*share+turn%share] })
}

// echoDrive keeps n windows under way; goroutine i takes the connection that pick names.
func (c *client) echoDrive(n int, pick func(i, turn int) net.Conn) drive {
	batch := c.batch(plainMark)
	replies := buffers(n, len(batch.back))
	return func(d time.Duration) (sample, error) {
		times, elapsed, err := c.repeat(d, n, func(i, turn int) error {
			return exchange(pick(i, turn), batch, replies[i])
		})
		return gather(times, c.Row.Window, elapsed), err
	}
}

// gather makes one sample of several goroutines' times, each of a window of messages.
func gather(times [][]time.Duration, window int, elapsed time.Duration) sample {
	s := sample{elapsed: elapsed}
	for _, t := range times {
		s.times = append(s.times, t...)
	}
	s.count = len(s.times) * window
	return s
}

func buffers(n, size int) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = make([]byte, size)
	}
	return all
}

// churn connects, exchanges one message and closes. The measured time is that of all three.
func (c *client) churn() (Result, error) {
	batch := c.batch(plainMark)
	replies := buffers(c.Row.Conns, len(batch.back))
	return c.measure(func(d time.Duration) (sample, error) {
		times, elapsed, err := c.repeat(d, c.Row.Conns, func(i, turn int) error {
			conn, err := c.dialFrom(source(turn*c.Row.Conns + i))
			if err != nil {
				return err
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(c.Patience))
			return exchange(conn, batch, replies[i])
		})
		return gather(times, 1, elapsed), err
	})
}

// idleWarmups are so many connections that a server has served before its memory is read the first
// time: what the process loads once is no cost of a session.
const idleWarmups = 64

// idle reads what the server's memory grows by for each connection that has echoed one message and
// waits, then keeps a few of them busy at a time, all in turn.
func (c *client) idle() (Result, error) {
	open := func(n int) ([]net.Conn, error) {
		conns, err := c.dial(n)
		if err != nil {
			return nil, err
		}
		return conns, c.greet(conns, c.batch(plainMark))
	}
	if _, err := open(idleWarmups); err != nil {
		return Result{}, err
	}
	c.closeAll()
	c.conns = nil
	empty, err := c.control.ask(settleCommand)
	if err != nil {
		return Result{}, err
	}
	conns, err := open(c.Row.Conns)
	if err != nil {
		return Result{}, err
	}
	full, err := c.control.ask(settleCommand)
	if err != nil {
		return Result{}, err
	}
	r, err := c.measure(c.walk(conns, min(walkers, len(conns))))
	r.SessionRSS = float64(full.RSS-empty.RSS) / float64(len(conns))
	r.KeptRSS = float64(full.Kept-empty.RSS) / float64(len(conns))
	return r, err
}

// sleepers measures the connections whose handlers do not sleep, before and while others do.
func (c *client) sleepers() (Result, error) {
	conns, err := c.dial(c.Row.Conns)
	if err != nil {
		return Result{}, err
	}
	plain, asleep := c.batch(plainMark), c.batch(napMark)
	replies := buffers(len(conns), len(plain.back))
	sleeping := max(1, len(conns)/sleeperIn)
	load := func(first batch) drive {
		return func(d time.Duration) (sample, error) {
			times, elapsed, err := c.repeat(d, len(conns), func(i, _ int) error {
				if i < sleeping {
					return exchange(conns[i], first, replies[i])
				}
				return exchange(conns[i], plain, replies[i])
			})
			return gather(times[sleeping:], c.Row.Window, elapsed), err
		}
	}
	calm, err := c.measure(load(plain))
	if err != nil {
		return Result{}, err
	}
	r, err := c.measure(load(asleep))
	r.CalmP99 = calm.P99
	return r, err
}
