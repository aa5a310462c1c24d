package cluster

import (
	"encoding/json"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	heartbeatInterval = 500 * time.Millisecond

	// heartbeatTimeout is after how long without a heartbeat a node is out of reach.
	heartbeatTimeout = 1500 * time.Millisecond
)

// announce publishes who this node is and how it is: whenever that has changed, and when another one asks.
func (n *Node) announce() error {
	data, err := n.announcement(nil)
	if err != nil {
		return err
	}
	return natsError(n.conn.Publish(n.subjects.heartbeats, data))
}

func (n *Node) announcement(briefs []peerBrief) ([]byte, error) {
	return json.Marshal(announcement{
		ID:       n.id,
		Instance: n.instance,
		Started:  n.started.UnixNano(),
		State:    n.state(),
		Users:    n.users(),
		Known:    n.peers.digest(),
		Done:     n.directory.Done(),
		Peers:    briefs,
	})
}

// beat publishes a whole heartbeat, of 20 bytes: there is something new.
func (n *Node) beat() error { return n.publishBeat(n.present()) }

func (n *Node) present() heartbeat {
	return heartbeat{instance: n.instance, known: n.peers.digest(), done: n.directory.Done(), users: n.users()}
}

func (n *Node) publishBeat(b heartbeat) error {
	return natsError(n.conn.Publish(n.subjects.heartbeats, b.append(nil)))
}

// Of the beats that say the same the first three are whole, in case one is lost, and then each fourth: whoever has
// missed something, or counts users, waits for two seconds at the most.
const (
	wholeFirst = 3
	wholeEvery = 4
)

// beats decides how much a node says in its next heartbeat. heartbeatLoop alone uses it.
type beats struct {
	last heartbeat
	same int // how many said the same
}

func (b *beats) next(h heartbeat) heartbeat {
	if h.known != b.last.known || h.done != b.last.done {
		b.same = 0
	}
	b.last = h
	b.same++
	h.brief = b.same > wholeFirst && b.same%wholeEvery != 0
	return h
}

func (n *Node) users() int {
	d := n.dispatcher
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.users)
}

// heartbeatLoop announces this node, and forgets others that have been silent for too long.
func (n *Node) heartbeatLoop() {
	defer n.running.Done()
	const looks = int(heartbeatInterval / watchInterval)
	var said beats
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for i := 1; ; i++ {
		select {
		case <-tick.C:
		case <-n.done:
			return
		}
		n.peers.tick()
		n.posts.tick()
		if i%looks == 0 {
			n.heartbeat(&said)
		}
		n.lookAround()
		n.dispatcher.endLinger(lingerFor)
	}
}

func (n *Node) heartbeat(said *beats) {
	next := said.next(n.present())
	if n.introduce.Swap(false) {
		_ = n.announce()
	} else {
		_ = n.publishBeat(next) // without a connection the others miss it, as they should
	}
	n.directory.Tick()
	for _, p := range n.peers.sweep() {
		n.log.Warn("cluster: node forgotten, nothing heard of it", "node", n.id, "peer", p.id, "since", p.last())
	}
}

// handleHeartbeat is called by the NATS client for each, one at a time.
func (n *Node) handleHeartbeat(m *nats.Msg) {
	if len(m.Data) > 0 && m.Data[0] == announcementBegins {
		n.handleAnnouncement(m.Data)
		return
	}
	b, err := parseHeartbeat(m.Data)
	if err != nil || b.instance == n.instance {
		return
	}
	known, found := n.peers.beat(b)
	if !known {
		_ = n.tell(b.instance, askWho, "")
		return
	}
	if !b.brief {
		n.heardFrom(b.instance, b.known, b.done, found)
	} else if found {
		n.lookAround()
	}
}

// handleAnnouncement may be called by several goroutines.
func (n *Node) handleAnnouncement(data []byte) {
	a, err := parseAnnouncement(data)
	if err != nil || a.Instance == n.instance {
		return
	}
	if a.State == stateClosed {
		n.peers.left(a)
		n.lookAround()
		return
	}
	found := n.peers.heard(a)
	if found {
		if a.ID == n.id {
			n.log.Warn("cluster: another node has this one's id", "node", n.id)
		}
		n.log.Info("cluster: node found", "node", n.id, "peer", a.ID)
	}
	n.heardFrom(a.Instance, a.Known, a.Done, found || a.State != stateServing)
}

// heardFrom goes on from a heartbeat of a node that is known.
func (n *Node) heardFrom(instance string, known, done uint32, look bool) {
	if look {
		n.lookAround()
	}
	n.directory.PeerDone(instance, done)
	if n.peers.shouldAsk(instance, known) {
		_ = n.tell(instance, askPeers, n.instance)
	}
	select {
	case n.met <- struct{}{}: // New waits for the others
	default:
	}
}

// tell says something to one node.
func (n *Node) tell(instance string, what byte, text string) error {
	return natsError(n.conn.Publish(n.subjects.told(instance), append([]byte{what}, text...)))
}

// tellPeers answers a node that may not know all that this one does.
func (n *Node) tellPeers(instance string) {
	if !validInstance(instance) {
		return
	}
	if data, err := n.announcement(n.peers.briefs()); err == nil {
		_ = n.conn.Publish(n.subjects.told(instance), data)
	}
}

// handleHello takes note of a node that is new, and answers it alone.
func (n *Node) handleHello(m *nats.Msg) {
	a, err := parseAnnouncement(m.Data)
	if err != nil || a.Instance == n.instance {
		return
	}
	n.handleAnnouncement(m.Data)
	if data, err := n.announcement(nil); err == nil {
		_ = n.conn.Publish(n.subjects.told(a.Instance), data)
	}
}

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
		if err := n.hello(k); err != nil {
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
		if reachable, unreachable := n.peers.split(); len(reachable) > 0 && unreachable == 0 && n.peers.agree() {
			return nil
		}
		select {
		case <-tick.C:
		case <-n.life.Done():
			return n.life.Err()
		}
	}
}

// hello asks all others to answer.
func (n *Node) hello(k *call) error {
	data, err := n.announcement(nil)
	if err != nil {
		return err
	}
	return natsError(n.conn.PublishRequest(n.subjects.hellos, n.replySubject(k, 0), data))
}
