// Package cluster carries messages between sessions on different servers, over NATS.
//
//	node, err := cluster.New(ctx, cluster.Options{Listen: "127.0.0.1:6222", Routes: []string{"127.0.0.1:6223"}})
//	...
//	err = node.Bind(ctx, session, "alice")          // after alice's login was checked
//	err = node.Send(ctx, "bob", payload)            // wherever bob is: nil says that it is in bob's queue
//	delivery, err := node.BroadcastContext(ctx, "chess", payload)   // to all members of a group, and what became of it
//	peer := m.Over(node.Service("accounts"))        // calls of package mux, answered by any node that serves "accounts"
//
// Each process has one [Node]. A node subscribes to one subject for each user that it holds a session of,
// and to one for each group with a member here: that interest, which NATS spreads by itself, is the
// directory. Nothing about users is stored, so nothing of it goes stale. By default a node runs a NATS server
// in its process; with Options.Servers it uses one that is there already.
//
// # Guarantees
//
// Messages arrive at most once, and those of one goroutine to one session in order, whichever of its users and groups
// they were sent to; a [Node.Kick] ends a session behind what the same goroutine sent it before. A [Node.Send] that
// returns nil was queued by a session of the user: it will be written, or counted in that session's Stats().Discarded.
// [ErrOffline] is only said when a majority of the three nodes that would know the user are certain that nobody holds
// him; otherwise, and when an answer was lost, it is [ErrDegraded]. A user has one session: of several logins the
// latest stays, on whichever nodes they were, and the others are closed with [ErrReplaced].
//
// Calls wait as long as their context says, or Options.Timeout when it has no deadline; a NATS server that
// stopped reading may add 3 s. Queues are bounded, refuse what does not fit and count it: a session's own, and
// 65,536 messages between the NATS client and the node.
//
// # What it does not do
//
// It stores nothing: what must reach a user who is away, or survive a crash, is stored by the caller before
// it is sent. It checks nobody's identity: Bind takes the caller's word. It needs a network in which each
// NATS server reaches each other one, one cluster and not several that are joined by gateways.
package cluster
