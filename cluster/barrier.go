package cluster

import (
	"context"
	"sync"
	"time"
)

// A barrier is a round trip through every dispatcher of every node, this one included. What it is good for:
//
//   - A NATS server tells the others of a subscription on the connection that messages follow on. So when a
//     node has answered, it sees all subscriptions made here before the barrier began.
//   - A dispatcher answers after all it was sent before. So when all have answered, every message published
//     here before the barrier has been handled, and the answers to it are in; or it was lost.
//
// Whoever waits for a barrier shares the next round with all others who do.
type barriers struct {
	ping []byte // what is asked; immutable

	mu sync.Mutex
	// mu guards the following.
	waiting []chan<- roundResult // each has room for its one result
	active  bool                 // rounds are going on
}

// roundResult says who did not answer.
type roundResult struct {
	unreachable int // known nodes that did not answer, and that have not left
	err         error
}

const (
	// pingAgain is after how long a dispatcher that does not answer is asked again: a full channel loses
	// barriers as it loses messages.
	pingAgain = 250 * time.Millisecond

	roundTick = 50 * time.Millisecond // how often a round looks for nodes that have left or fallen silent
)

// barrier waits for a round that begins after the call. It fails when ctx ends, when the node is closed, and
// without a connection.
func (n *Node) barrier(ctx context.Context) (roundResult, error) { return n.pass(ctx, &n.barriers) }

func (n *Node) pass(ctx context.Context, b *barriers) (roundResult, error) {
	if err := ctx.Err(); err != nil {
		return roundResult{}, err
	}
	select {
	case r := <-n.joinRound(b):
		return r, r.err
	case <-ctx.Done():
		return roundResult{}, ctx.Err()
	case <-n.done:
		return roundResult{}, ErrClosed
	}
}

// joinRound returns where the result of the next round will be; never, if the node is closed first.
func (n *Node) joinRound(b *barriers) <-chan roundResult {
	result := make(chan roundResult, 1)
	b.mu.Lock()
	b.waiting = append(b.waiting, result)
	begin := !b.active
	b.active = true
	b.mu.Unlock()
	if begin {
		n.spawn(func() { n.runRounds(b) })
	}
	return result
}

func (n *Node) runRounds(b *barriers) {
	for {
		b.mu.Lock()
		waiting := b.waiting
		b.waiting = nil
		b.active = len(waiting) > 0
		b.mu.Unlock()
		if len(waiting) == 0 {
			return
		}
		r := n.round(n.life, b.ping, nil)
		for _, w := range waiting {
			w <- r
		}
	}
}

// A round asks each reachable node once, and more often if need be.
type round struct {
	node    *Node
	ping    []byte
	missed  func(instance string) error // asks a node again what it was asked before the ping
	call    *call
	targets []*target
	open    int // targets that have not answered
	lost    int // that are unreachable
}

type target struct {
	instance string
	done     bool
	missed   bool // what was asked before, once
	asked    time.Time
}

// round may ask members of a group through missed; nil for a ping that asks for nothing else.
func (n *Node) round(ctx context.Context, ping []byte, missed func(instance string) error) roundResult {
	reachable, unreachable := n.peers.split()
	r := &round{node: n, ping: ping, missed: missed, lost: unreachable}
	for _, instance := range append(reachable, n.instance) {
		r.targets = append(r.targets, &target{instance: instance})
	}
	r.open = len(r.targets)
	r.call = n.calls.begin(2 * len(r.targets))
	defer n.calls.end(r.call)
	err := r.run(ctx)
	return roundResult{unreachable: r.lost, err: err}
}

func (r *round) run(ctx context.Context) error {
	for i := range r.targets {
		if err := r.ask(i); err != nil {
			return err
		}
	}
	tick := time.NewTicker(roundTick)
	defer tick.Stop()
	bound := time.NewTimer(r.node.timeout)
	defer bound.Stop()
	for r.open > 0 {
		select {
		case a := <-r.call.answers:
			if a.code == answerLost {
				return ErrDisconnected
			}
			if err := r.answered(a); err != nil {
				return err
			}
		case <-tick.C:
			if err := r.look(); err != nil {
				return err
			}
		case <-bound.C:
			r.lost += r.open
			if self := r.targets[len(r.targets)-1]; !self.done {
				return context.DeadlineExceeded
			}
			return nil
		case <-r.node.done:
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (r *round) ask(i int) error {
	t := r.targets[i]
	t.asked = time.Now()
	err := r.node.conn.PublishRequest(r.node.subjects.pingOf(t.instance), r.node.replySubject(r.call, i+1), r.ping)
	return natsError(err)
}

func (r *round) answered(a answer) error {
	if a.target < 1 || a.target > len(r.targets) {
		return nil
	}
	t := r.targets[a.target-1]
	switch a.code {
	case answerPong:
		r.end(t, false)
	case answerMissed:
		return r.askMissed(a.target-1, t)
	case answerNoResponders: // no route to it
		r.end(t, !r.node.peers.holdsNoUsers(t.instance))
	}
	return nil
}

// askMissed has a node asked what it was not asked, and whether it was now.
func (r *round) askMissed(i int, t *target) error {
	if t.done {
		return nil
	}
	if t.missed || r.missed == nil || r.missed(t.instance) != nil {
		r.end(t, true)
		return nil
	}
	t.missed = true
	return r.ask(i)
}

func (r *round) end(t *target, lost bool) {
	if t.done {
		return
	}
	t.done = true
	r.open--
	if lost {
		r.lost++
	}
}

// look gives up on those that have fallen silent and asks the others again.
func (r *round) look() error {
	for i, t := range r.targets {
		switch {
		case t.done:
		case t.instance != r.node.instance && r.node.peers.holdsNoUsers(t.instance):
			r.end(t, false)
		case t.instance != r.node.instance && !r.node.peers.fresh(t.instance):
			r.end(t, true)
		case time.Since(t.asked) > pingAgain:
			if err := r.ask(i); err != nil {
				return err
			}
		}
	}
	return nil
}
