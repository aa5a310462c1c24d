package cluster

import (
	"github.com/libnet-go/libnet"
	"github.com/nats-io/nats.go"
)

// A group is the part of a group's members that is here.
type group struct {
	token string
	sub   *nats.Subscription

	members libnet.Group[uint64] // by session id; encodes a message once for all
	joined  map[uint64]func()    // guarded by the dispatcher's mu: what takes the close callback back
}

// Join makes s a member of group until it leaves or closes. It does not wait: this node's broadcasts that
// begin after it reach s, those of other nodes after the time that a message to them takes, or when a
// [Node.Sync] that begins after it has returned. Joining again changes nothing. Errors:
// [ErrDraining], [ErrInvalidName], [ErrDisconnected], [ErrClosed], the reason of s's end.
func (n *Node) Join(s *libnet.Session, group string) error {
	token, err := n.mayBind(s, group)
	if err != nil {
		return err
	}
	d := n.dispatcher
	if err := d.join(token, s); err != nil {
		return err
	}
	stop := s.OnClose(func() { d.leave(token, s.ID()) })
	if !d.keepStop(token, s.ID(), stop) {
		stop()
	}
	return nil
}

// Leave ends s's membership, if there is one, at once: [Node.Sync] before it has s hear what was broadcast here before.
// Errors: [ErrInvalidName], [ErrClosed].
func (n *Node) Leave(s *libnet.Session, group string) error {
	if s == nil {
		panic("cluster: nil session")
	}
	if err := n.open(); err != nil {
		return err
	}
	token, err := checkedToken(group)
	if err != nil {
		return err
	}
	n.dispatcher.leave(token, s.ID())
	return nil
}

// Broadcast sends payload to all members of group, on every node: one message to each node, which encodes it once for
// all its members of one protocol. It waits for nobody; a member whose queue is full does without, as
// [libnet.Group.Broadcast] has it. What one goroutine broadcasts, posts and sends arrives at each session in that
// order. The caller may then change payload. Errors: [ErrTooLarge], [ErrInvalidName], [ErrDisconnected], [ErrClosed].
func (n *Node) Broadcast(group string, payload []byte) error {
	token, err := n.check(group, payload)
	if err != nil {
		return err
	}
	n.stats.broadcasts.Add(1)
	return natsError(n.conn.Publish(n.subjects.group(token), payload))
}

func (d *dispatcher) join(token string, s *libnet.Session) error {
	addr := addrOf(s)
	for {
		var spare *nats.Subscription
		if !d.hasGroup(token) {
			var err error
			if spare, err = d.subscribe(d.node.subjects.group(token)); err != nil {
				return err
			}
		}
		g, err := d.putMember(token, s, addr, spare)
		if spare != nil && (g == nil || g.sub != spare) {
			d.unsubscribe(spare)
		}
		if err != errVanished {
			return err
		}
	}
}

func (d *dispatcher) hasGroup(token string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.groups[token] != nil
}

// putMember adds s to the group, which is made on sub if there is none.
func (d *dispatcher) putMember(token string, s *libnet.Session, addr string, sub *nats.Subscription) (*group, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.node.accepting(); err != nil {
		return nil, err
	}
	g := d.groups[token]
	if g == nil {
		if sub == nil {
			return nil, errVanished
		}
		g = &group{token: token, sub: sub, joined: make(map[uint64]func())}
		d.groups[token] = g
	}
	if _, ok := g.joined[s.ID()]; !ok {
		g.joined[s.ID()] = nil
		d.attachGroupLocked(s, addr, token)
		g.members.Put(s.ID(), s) // its locks are leaves: nothing is called back under them
	}
	return g, nil
}

// keepStop remembers how to take the close callback of a member back; false if it left already, or has one.
func (d *dispatcher) keepStop(token string, session uint64, stop func() bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	g := d.groups[token]
	if g == nil {
		return false
	}
	if old, ok := g.joined[session]; !ok || old != nil {
		return false
	}
	g.joined[session] = func() { stop() }
	return true
}

// leave removes a session and, with the last one, the group.
func (d *dispatcher) leave(token string, session uint64) {
	d.mu.Lock()
	g := d.groups[token]
	if g == nil {
		d.mu.Unlock()
		return
	}
	stop, ok := g.joined[session]
	delete(g.joined, session)
	if ok {
		d.detachGroupLocked(session, token)
	}
	if s := g.members.Get(session); s != nil {
		g.members.Remove(session, s) // under the lock, or it might undo a Join that comes in between
	}
	empty := ok && len(g.joined) == 0
	if empty {
		delete(d.groups, token)
	}
	d.mu.Unlock()
	if stop != nil {
		stop()
	}
	if empty {
		d.unsubscribe(g.sub)
	}
}
