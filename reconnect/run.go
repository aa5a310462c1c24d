package reconnect

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/libnet-go/libnet"
)

// A loop is what the client's goroutine knows from one attempt to the next.
type loop struct {
	lifetime   *lifetime
	delays     *backoff.ExponentialBackOff
	next       phase
	last       outcome
	delay      time.Duration
	failures   failures
	toldClosed bool
	ended      bool
}

type phase int

const (
	attempting phase = iota
	reporting
	waiting
)

// An outcome is what an attempt came to.
type outcome struct {
	lasted   time.Duration // from when the session was up until it ended; 0 if it never was
	received bool          // and it had brought a message
	err      error
}

// run is the client's goroutine. A callback may end it (runtime.Goexit): each phase says what follows before it begins,
// and another goroutine goes on from there.
func (c *Client) run(r *loop) {
	defer func() {
		if r.ended {
			close(r.lifetime.done)
		} else {
			go c.run(r)
		}
	}()
	c.mu.Lock()
	c.runner = goroutineID()
	c.mu.Unlock()
	for r.lifetime.ctx.Err() == nil {
		c.step(r)
	}
	if !r.toldClosed {
		r.toldClosed = true
		c.tell(Change{State: Closed, Err: c.Err()})
	}
	r.ended = true
}

func (c *Client) step(r *loop) {
	switch r.next {
	case attempting:
		r.next = reporting
		if c.hasNoMoreToSend() {
			<-r.lifetime.ctx.Done() // Shutdown sees to that
			return
		}
		c.attempt(r)
	case reporting:
		r.next = waiting
		c.report(r)
	case waiting:
		r.next = attempting
		pause(r.lifetime.ctx, r.delay)
	}
}

// hasNoMoreToSend holds when a Shutdown is under way that needs no session more: another one would log in for nothing.
func (c *Client) hasNoMoreToSend() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing && len(c.held) == 0
}

// hasShutDown reports whether reason is that of a session that a Shutdown of the client's has ended.
func (c *Client) hasShutDown(reason error) bool {
	return c.hasNoMoreToSend() && is(reason, libnet.ErrSessionClosed)
}

// report draws the delay, counts, and tells of the attempt.
func (c *Client) report(r *loop) {
	if r.last.lasted >= c.maxBackoff() {
		r.delays.Reset()
	}
	r.delay = r.delays.NextBackOff()
	failed := !r.last.received && r.last.lasted < c.maxBackoff() && !c.hasShutDown(r.last.err)
	if failed {
		c.mu.Lock()
		c.stats.Failures++
		c.mu.Unlock()
	}
	switch {
	case c.endedFor(r.last.err):
		return
	case failed:
		c.logFailure(&r.failures, r.last.err, r.delay)
	default:
		r.failures.over()
	}
	c.tell(Change{State: Waiting, Err: r.last.err, Delay: r.delay})
}

// leastMaxBackoff keeps a client whose numbers ask for no delay from a hot loop.
const leastMaxBackoff = 10 * time.Millisecond

// newBackOff returns a back-off with full jitter: an interval randomized by all of it reaches from 0 to twice
// its length, so that half of each bound goes in. What doubles has to begin above 0.
func (c *Client) newBackOff() *backoff.ExponentialBackOff {
	longest := c.maxBackoff() / 2
	b := &backoff.ExponentialBackOff{
		InitialInterval:     min(max(resolve(c.MinBackoff, defaultMinBackoff)/2, 1), longest),
		MaxInterval:         longest,
		Multiplier:          2,
		RandomizationFactor: 1,
	}
	b.Reset()
	return b
}

func (c *Client) maxBackoff() time.Duration {
	return max(resolve(c.MaxBackoff, defaultMaxBackoff), leastMaxBackoff)
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
