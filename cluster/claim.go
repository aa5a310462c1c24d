package cluster

import (
	"cmp"
	"strings"
	"sync/atomic"
	"time"
)

// A claim says which login of a user this is. Claims are totally ordered and the greatest wins on every
// node: without that, two logins at a time would end each other, or neither.
type claim struct {
	time     int64 // by the cluster's clock
	instance string
	session  uint64
}

func (c claim) compare(d claim) int {
	return cmp.Or(cmp.Compare(c.time, d.time), strings.Compare(c.instance, d.instance), cmp.Compare(c.session, d.session))
}

// A clock is a hybrid logical clock: Unix nanoseconds, but always later than what this node has read or
// heard before. Each Bind tells all nodes its time before it returns, so a login that begins after another
// one ended is the later one, though the clock of its machine may be slow.
type clock struct{ last atomic.Int64 }

// clockTrust is how far ahead of ours another node's clock is followed: one that is set to the end of time
// must not take all others there.
const clockTrust = 24 * time.Hour

func (c *clock) now() int64 {
	for {
		last := c.last.Load()
		now := max(time.Now().UnixNano(), last+1)
		if c.last.CompareAndSwap(last, now) {
			return now
		}
	}
}

func (c *clock) observe(t int64) {
	if t > time.Now().Add(clockTrust).UnixNano() {
		return
	}
	for last := c.last.Load(); t > last; last = c.last.Load() {
		if c.last.CompareAndSwap(last, t) {
			return
		}
	}
}

// claimed handles another node's claim to a user of this one.
func (d *dispatcher) claimed(token string, c claim) {
	d.node.clock.observe(c.time)
	if c.instance == d.node.instance {
		return // our own: Bind has compared those of one node
	}
	d.mu.Lock()
	b := d.users[token]
	lost := b != nil && c.compare(b.claim) > 0
	if lost {
		d.removeLocked(b, ErrReplaced)
	}
	d.mu.Unlock()
	switch {
	case lost:
		d.unsubscribe(b.sub)
		d.node.replaced(b)
	case b != nil:
		_ = d.node.publishClaim(b) // or the lesser login would stay; if this is lost, reclaimLoop repeats it
	}
}

// replaced ends a session that lost its user.
func (n *Node) replaced(b *binding) {
	n.stats.replaced.Add(1)
	b.forget()
	n.end(b.session, ErrReplaced)
}

func (n *Node) publishClaim(b *binding) error {
	return n.publish(n.subjects.user(b.token), "", kindClaim, appendClaim(nil, b.claim))
}

const (
	// reclaimAgain: a node that was just heard for the first time may still have been learning who
	// subscribes here, and missed the first round.
	reclaimAgain = 2 * heartbeatInterval

	// reclaimBatch is how many claims go out before their arrival is waited for, as they come back to this
	// node, too, and must not fill its dispatchers' channels.
	reclaimBatch = 1000
)

// reclaimLoop publishes all claims again whenever a node is heard that was silent: both may have bound the same
// user meanwhile.
func (n *Node) reclaimLoop() {
	defer n.running.Done()
	again := time.NewTimer(0)
	if !again.Stop() {
		<-again.C
	}
	for {
		select {
		case <-n.reclaim:
			again.Reset(reclaimAgain)
		case <-again.C:
		case <-n.done:
			again.Stop()
			return
		}
		n.reclaimAll()
	}
}

func (n *Node) reclaimAll() {
	published := 0
	for _, d := range n.dispatchers {
		for _, b := range d.bindings() {
			if n.publishClaim(b) != nil {
				return // reconnected has them published again
			}
			if published++; published%reclaimBatch == 0 && !n.awaitHandled() {
				return
			}
		}
	}
}

// awaitHandled waits until what was published has been handled everywhere, and is false once the node is closed.
func (n *Node) awaitHandled() bool {
	ctx, cancel := n.bounded(n.life)
	defer cancel()
	_, err := n.barrier(ctx)
	return err == nil || n.life.Err() == nil
}

// reclaimSoon has all claims published again.
func (n *Node) reclaimSoon() {
	select {
	case n.reclaim <- struct{}{}:
	default: // it is due already
	}
}
