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
}

type counters struct {
	delivered, blocked, rejected, replaced atomic.Uint64
	calls, failedCalls, served, busy       atomic.Uint64
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

// Stats returns a snapshot. It looks at every user and group, about 50 ns each.
func (n *Node) Stats() Stats {
	stats := Stats{
		Delivered: n.stats.delivered.Load(),
		Blocked:   n.stats.blocked.Load(),
		Rejected:  n.stats.rejected.Load(),
		Replaced:  n.stats.replaced.Load(),
	}
	for _, d := range n.dispatchers {
		users, groups, dropped := d.count()
		stats.Users += users
		stats.Groups += groups
		stats.Dropped += dropped
	}
	return stats
}
