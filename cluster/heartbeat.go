package cluster

import (
	"encoding/json"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	heartbeatInterval = 500 * time.Millisecond

	// heartbeatTimeout is after how long without a heartbeat a node is out of reach. NATS itself says "no responders",
	// wrongly, from about 3 s after a route went dead.
	heartbeatTimeout = 1500 * time.Millisecond
)

// announce publishes this node's heartbeat.
func (n *Node) announce() error {
	data, err := json.Marshal(announcement{
		ID:       n.id,
		Instance: n.instance,
		Started:  n.started.UnixNano(),
		Clock:    n.clock.now(),
		State:    n.state(),
		Users:    n.users(),
		Peers:    n.peers.briefs(),
	})
	if err != nil {
		return err
	}
	return natsError(n.conn.Publish(n.subjects.heartbeats, data))
}

func (n *Node) users() (count int) {
	for _, d := range n.dispatchers {
		d.mu.Lock()
		count += len(d.users)
		d.mu.Unlock()
	}
	return count
}

// heartbeatLoop announces this node, and forgets others that have been silent for too long.
func (n *Node) heartbeatLoop() {
	defer n.running.Done()
	tick := time.NewTicker(heartbeatInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = n.announce() // without a connection the others miss it, as they should
			for _, p := range n.peers.sweep() {
				n.log.Warn("cluster: node forgotten, nothing heard of it", "node", n.id, "peer", p.id, "since", p.last())
			}
		case <-n.done:
			return
		}
	}
}

// handleHeartbeat is called by the NATS client for each, one at a time.
func (n *Node) handleHeartbeat(m *nats.Msg) {
	a, err := parseAnnouncement(m.Data)
	if err != nil || a.Instance == n.instance {
		return
	}
	n.clock.observe(a.Clock)
	if a.State == stateClosed {
		n.peers.left(a)
		return
	}
	if n.peers.heard(a) {
		if a.ID == n.id {
			n.log.Warn("cluster: another node has this one's id", "node", n.id)
		}
		n.log.Info("cluster: node found", "node", n.id, "peer", a.ID)
		n.reclaimSoon()
	}
	select {
	case n.met <- struct{}{}: // New waits for the others
	default:
	}
}

// handleHello answers a node that is new.
func (n *Node) handleHello(*nats.Msg) { _ = n.announce() }

const (
	helloInterval = 10 * time.Millisecond

	// meetWithin bounds how long New waits for other nodes. The first of a cluster finds none.
	meetWithin = time.Second
)

// meet waits until this node hears all others that are known, or until there seem to be none.
func (n *Node) meet(o *Options) error {
	bound := time.NewTimer(meetWithin)
	defer bound.Stop()
	tick := time.NewTicker(helloInterval)
	defer tick.Stop()
	k := n.calls.begin(callAnswers)
	defer n.calls.end(k)
	for {
		if err := natsError(n.conn.PublishRequest(n.subjects.hellos, n.replySubject(k, 0), nil)); err != nil {
			return err
		}
		select {
		case a := <-k.answers:
			if a.code == answerLost {
				return ErrDisconnected
			}
			if len(o.Routes) == 0 { // no responders, and no routes that may still come up
				return nil
			}
		case <-n.met:
		case <-bound.C:
			return nil
		case <-n.life.Done():
			return n.life.Err()
		}
		if reachable, unreachable := n.peers.split(); len(reachable) > 0 && unreachable == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-n.life.Done():
			return n.life.Err()
		}
	}
}
