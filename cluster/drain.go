package cluster

import (
	"context"
	"errors"
)

// Drain gives up the node's users and groups before it goes away. From its beginning on, Bind and Join
// answer [ErrDraining]; when it returns nil, every node knows that its users are not here, and all that was
// sent to them before has been handled: what was acknowledged is in the sessions' queues. Sessions stay open.
//
// So the order for a server that restarts is: Drain, then libnet.Server.Shutdown, which delivers those
// queues, then [Node.Close]. Clients may connect elsewhere at any time; a login elsewhere does not close
// sessions of a node that drains, whose queues are still being delivered.
//
// After Drain the node still sends. A second call does the same again. Errors: [ErrClosed],
// [ErrDisconnected], ctx's; the node drains all the same. Without a deadline in ctx, Options.Timeout bounds
// the call.
func (n *Node) Drain(ctx context.Context) error {
	if err := n.open(); err != nil {
		return err
	}
	n.phase.CompareAndSwap(int32(stateServing), int32(stateDraining))
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	if err := n.announce(); err != nil {
		return err
	}
	services := n.services.drain(ctx)
	// A Bind that is past its check of the state holds the dispatcher's lock, and its user is seen here.
	n.directory.UnholdAll()
	n.dispatcher.forgetAll(ErrDraining)
	if _, err := n.barrier(ctx); err != nil || services != nil {
		return errors.Join(services, err)
	}
	n.phase.CompareAndSwap(int32(stateDraining), int32(stateDrained))
	n.lookAround()
	n.introduce.Store(true) // what follows may be lost
	return n.announce()
}

// forgetAll unbinds all users and ends all groups.
func (d *dispatcher) forgetAll(why error) {
	for _, b := range d.bindings() {
		d.remove(b, why)
	}
	d.mu.Lock()
	groups := d.groups
	d.groups = make(map[string]*group)
	for token, g := range groups {
		for session := range g.joined {
			d.detachGroupLocked(session, token)
		}
	}
	d.mu.Unlock()
	for _, g := range groups {
		d.unsubscribe(g.sub)
		g.members.Close()
		for _, stop := range g.joined {
			if stop != nil {
				stop()
			}
		}
	}
}
