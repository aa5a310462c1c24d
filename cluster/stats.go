package cluster

import "sync/atomic"

// Stats is a snapshot of a node's counters.
type Stats struct {
	Users, Groups int    // that this node holds sessions of
	Delivered     uint64 // messages that sessions here have queued
	Blocked       uint64 // messages that a full queue here refused
	Rejected      uint64 // messages that a session here could not encode; in a broadcast, its server logs them
	Dropped       uint64 // messages lost because this node did not keep up with NATS
	Replaced      uint64 // sessions here closed because their user logged in again
	Kicked        uint64 // sessions here closed by a kick

	Sends, Posts, Broadcasts uint64 // messages sent here, each user of a SendMany counted
	Calls, FailedCalls       uint64 // calls made here, and those of them that brought no reply
	Served, Refused          uint64 // calls that this node has served, and refused for want of room
}

type counters struct {
	delivered, blocked, rejected, replaced, kicked atomic.Uint64
	sends, posts, broadcasts                       atomic.Uint64
	calls, failedCalls, served, busy               atomic.Uint64
}

func (c *counters) count(code byte) {
	switch code {
	case answerQueued:
		c.delivered.Add(1)
	case answerBlocked:
		c.blocked.Add(1)
	case answerRejected:
		c.rejected.Add(1)
	}
}

// Stats returns a snapshot. It costs the same whatever users and groups there are.
func (n *Node) Stats() Stats {
	stats := Stats{
		Delivered: n.stats.delivered.Load(),
		Blocked:   n.stats.blocked.Load(),
		Rejected:  n.stats.rejected.Load(),
		Replaced:  n.stats.replaced.Load(),
		Kicked:    n.stats.kicked.Load(),

		Sends:       n.stats.sends.Load(),
		Posts:       n.stats.posts.Load(),
		Broadcasts:  n.stats.broadcasts.Load(),
		Calls:       n.stats.calls.Load(),
		FailedCalls: n.stats.failedCalls.Load(),
		Served:      n.stats.served.Load(),
		Refused:     n.stats.busy.Load(),
	}
	stats.Users, stats.Groups, stats.Dropped = n.dispatcher.count()
	return stats
}
