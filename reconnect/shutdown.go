package reconnect

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/errchain"
	"github.com/libnet-go/libnet/internal/usercode"
)

// settleTime is how long Shutdown waits, when all has been said, for a session to end: only a transport that misbehaves
// takes it.
const settleTime = 1500 * time.Millisecond

var errOwnWait = errors.New("libnet: reconnect.Client cannot connect while its callback waits for that")

// Close ends the client and its session, and discards what is held or queued, which is counted as lost. It does not
// wait for callbacks that are running: Done does. A second call does nothing.
func (c *Client) Close() { c.end(libnet.ErrSessionClosed) }

// end is Close with a reason, of which the first stays.
func (c *Client) end(reason error) (first bool) {
	c.mu.Lock()
	c.closing, c.closed = true, true
	if first = c.err == nil; first {
		c.err = reason
	}
	c.dropHeldLocked()
	l := c.lifetimeLocked()
	c.changedLocked()
	c.mu.Unlock()
	l.cancel()
	c.startOnce.Do(func() { close(l.done) }) // never started: nothing to wait for
	return first
}

// Shutdown takes no further messages, sends what is held, connecting for it if need be, shuts the session down as
// [libnet.Session.Shutdown] does, and ends the client. It returns nil when everything was written that it found held or
// queued and the last session has lost nothing, or a [*libnet.ShutdownError] that says how many messages were not
// written: ctx ended first, or a session failed, perhaps a moment before. It returns within 1.5 s of ctx's end.
//
// A callback, or a client that was not started, cannot wait for the next session: then what is held without one is
// given up at once. A client that has ended by itself, for an error that was [Permanent], had lost what it held before,
// and Shutdown returns nil.
func (c *Client) Shutdown(ctx context.Context) error {
	ctx = usercode.Context(ctx, "Shutdown")
	before := c.beginShutdown()
	forced, err := c.deliver(ctx)
	c.Close()
	if !c.settle() {
		forced = 1
	}
	lost, lostTo := c.lostSince(before)
	if lost == 0 && forced == 0 {
		return nil
	}
	return &libnet.ShutdownError{Undelivered: lost, Forced: forced, Err: cmp.Or(err, lostTo, c.Err())}
}

// losses are what was lost when a Shutdown began.
type losses struct {
	all    uint64
	last   *link  // the newest
	ofLast uint64 // what it had lost of all: it may have ended a moment ago
}

func (c *Client) beginShutdown() losses {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = true
	c.changedLocked() // for Ready
	before := losses{all: c.stats.Lost, last: c.last}
	if before.last != nil {
		before.ofLast = before.last.lost
	}
	return before
}

// lostSince returns how many messages were lost since then, or by what is the last session still, and why that ended.
func (c *Client) lostSince(before losses) (lost uint64, reason error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	lost = max(c.stats.Lost, before.all) - before.all
	if c.last == before.last {
		lost += before.ofLast
	}
	return lost, c.lostTo
}

// deliver returns whether it leaves a session that must be cut off, and why.
func (c *Client) deliver(ctx context.Context) (forced int, err error) {
	err = c.awaitNoneHeld(ctx)
	s := c.Session()
	switch {
	case s == nil:
		return 0, err
	case err != nil:
		return 1, err
	}
	return shutDown(ctx, s)
}

// shutDown is the session's Shutdown, which also waits for close callbacks; this one does so until ctx ends, no longer.
func shutDown(ctx context.Context, s *libnet.Session) (forced int, err error) {
	result := make(chan error, 1)
	go func() { result <- s.Shutdown(ctx) }()
	select {
	case err = <-result:
	case <-ctx.Done():
		select {
		case <-s.Done():
			return 0, ctx.Err()
		default:
			return 1, ctx.Err()
		}
	}
	if undelivered, ok := errchain.As[*libnet.ShutdownError](err); ok {
		return undelivered.Forced, undelivered.Err
	}
	return 0, nil
}

// awaitNoneHeld waits until nothing is held, and returns why that will not come.
func (c *Client) awaitNoneHeld(ctx context.Context) error {
	self := goroutineID()
	for {
		w, err := c.whatIsHeld(self)
		if w == nil || err != nil {
			return err
		}
		select {
		case <-w.changed:
		case <-w.ended:
			c.sessionGone(w.link)
		case <-w.client:
			return c.Err() // somebody else's Close, or an end for good
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// wait is what ends a wait for held messages.
type wait struct {
	link    *link
	ended   <-chan struct{} // link's session; nil without one
	changed <-chan struct{} // something to look at
	client  <-chan struct{}
}

// whatIsHeld returns nil when nothing is, and an error when goroutine self would wait for itself.
func (c *Client) whatIsHeld(self uint64) (*wait, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case len(c.held) == 0:
		return nil, nil
	case !c.started:
		return nil, ErrNotStarted
	case self == c.sender, self == c.runner && c.link == nil:
		return nil, errOwnWait
	}
	w := &wait{link: c.link, changed: c.changeLocked(), client: c.lifetimeLocked().ctx.Done()}
	if c.link != nil {
		w.ended = c.link.session.Done()
	}
	return w, nil
}

// settle waits until it is known what became of the messages that the last session was given; false when that takes too
// long.
func (c *Client) settle() bool {
	c.mu.Lock()
	k, sending := c.last, c.sender == goroutineID()
	c.mu.Unlock()
	if k == nil {
		return true
	}
	bound := time.NewTimer(settleTime)
	defer bound.Stop()
	select {
	case <-k.session.Done():
	case <-bound.C:
		return false
	}
	if !sending {
		select {
		case <-k.sent:
		case <-bound.C:
			return false
		}
	}
	c.account(k)
	return true
}
