package cluster

import (
	"hash/fnv"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// A peer is another node, in one of its runs.
type peer struct {
	id, instance string
	started      int64
	state        nodeState
	users        int
	heard        time.Time     // its last heartbeat here; zero if only others have heard it
	ran          time.Duration // the same by peers.clock
	known        time.Time     // when anybody is known to have heard it
	digest       uint32        // of the nodes that it knows
	asked        uint32        // its digest when it was asked for them
}

func (p *peer) last() time.Time {
	if p.heard.After(p.known) {
		return p.heard
	}
	return p.known
}

// fresh reports whether the peer was heard lately, by peers.clock.
func (p *peer) fresh(now time.Duration) bool {
	return !p.heard.IsZero() && now-p.ran < heartbeatTimeout
}

// peers are the other nodes that this one knows of: those it hears, those that others hear, and those that
// have fallen silent without leaving and may be on the other side of a broken network.
type peers struct {
	// Immutable.
	self          peer // this node
	forgetAfter   time.Duration
	isolatedUntil time.Time // until then a node that has met no other is isolated; zero: it may be the only one

	mu sync.Mutex
	// mu guards the following.
	clock     runClock
	known     map[string]*peer     // by instance
	gone      map[string]time.Time // instances that have left, and when: gossip must not bring them back
	metOthers bool
	sum       uint32    // of the known nodes; 0: to be made again
	askedAt   time.Time // when the last one was asked for the nodes that it knows
}

const (
	// maxPeers is how many nodes are known, and maxGossiped how many of them when it comes to those that only others
	// have heard. Each costs memory here and a part of what all do at each heartbeat.
	maxPeers    = 4096
	maxGossiped = maxPeers / 2

	maxGone = 4 * maxPeers // that have left lately
)

// tick has the clock go on. heartbeatLoop calls it each watchInterval.
func (ps *peers) tick() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.clock.tick(time.Now())
}

// heard notes an announcement. It reports whether the node was new or had been silent.
func (ps *peers) heard(a announcement) bool {
	now := time.Now()
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if _, gone := ps.gone[a.Instance]; gone {
		return false
	}
	ps.metOthers = true
	p := ps.known[a.Instance]
	if p == nil {
		if len(ps.known) >= maxPeers {
			return false
		}
		p = &peer{id: a.ID, instance: a.Instance, started: a.Started}
		ps.known[a.Instance] = p
	}
	ran := ps.clock.at(now)
	found := !p.fresh(ran)
	p.heard, p.ran, p.known, p.state, p.users, p.digest = now, ran, now, a.State, a.Users, a.Known
	if len(a.Peers) > 0 {
		newest := ps.newestLocked()
		for _, brief := range a.Peers {
			ps.gossipLocked(brief, now, newest)
		}
	}
	ps.sum = 0
	return found
}

// beat notes a heartbeat. It reports whether the node is known, and whether it had been silent.
func (ps *peers) beat(b heartbeat) (known, found bool) {
	now := time.Now()
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.known[b.instance]
	if p == nil {
		_, gone := ps.gone[b.instance]
		return gone, false
	}
	ran := ps.clock.at(now)
	found = !p.fresh(ran)
	p.heard, p.ran, p.known = now, ran, now
	if !b.brief {
		p.users, p.digest = b.users, b.known
	}
	return true, found
}

// sumLocked is equal for equal known nodes, and 0 for none.
func (ps *peers) sumLocked() uint32 {
	if ps.sum == 0 {
		ps.sum = sumOf(ps.self.instance)
		for instance, p := range ps.known {
			if p.state != stateDrained {
				ps.sum ^= sumOf(instance)
			}
		}
		ps.sum |= 1
	}
	return ps.sum
}

func sumOf(instance string) uint32 {
	h := fnv.New32a()
	_, _ = io.WriteString(h, instance)
	return h.Sum32()
}

func (ps *peers) digest() uint32 {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return ps.sumLocked()
}

// agree reports whether all that are heard know of the nodes that this one knows.
func (ps *peers) agree() bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ran := ps.clock.now()
	for _, p := range ps.known {
		if p.fresh(ran) && p.digest != ps.sumLocked() {
			return false
		}
	}
	return true
}

// askPeersEvery bounds how often a node asks others whom they know. Just after a node has come or gone, all differ.
const askPeersEvery = heartbeatInterval / 2

// shouldAsk reports whether a node knows of others than this one, and is to be asked for them.
func (ps *peers) shouldAsk(instance string, digest uint32) bool {
	now := time.Now()
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.known[instance]
	if p == nil || digest == ps.sumLocked() || digest == p.asked || now.Sub(ps.askedAt) < askPeersEvery {
		return false
	}
	p.asked, ps.askedAt = digest, now
	return true
}

// gossipLocked notes a node that only another one may have heard. That is not enough to call it reachable,
// but enough not to call its users offline.
func (ps *peers) gossipLocked(brief peerBrief, now time.Time, newest map[string]int64) {
	age := time.Duration(min(brief.AgeMS, int64(24*time.Hour/time.Millisecond))) * time.Millisecond
	_, gone := ps.gone[brief.Instance]
	if brief.Instance == ps.self.instance || gone || ps.forgetAfter > 0 && age > ps.forgetAfter {
		return
	}
	p := ps.known[brief.Instance]
	if p == nil {
		p = &peer{id: brief.ID, instance: brief.Instance, started: brief.Started}
		if p.superseded(newest) || len(ps.known) >= maxGossiped {
			return
		}
		ps.known[brief.Instance] = p
		ps.sum = 0
	}
	if last := now.Add(-age); last.After(p.known) {
		p.known = last
	}
}

// left notes that a node has announced its end.
func (ps *peers) left(a announcement) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	delete(ps.known, a.Instance)
	ps.sum = 0
	if len(ps.gone) < maxGone {
		ps.gone[a.Instance] = time.Now()
	}
	ps.metOthers = true
}

// sweep forgets nodes that were silent for too long, and silent ones that have come back as another instance or
// that were drained before.
func (ps *peers) sweep() (forgotten []*peer) {
	now := time.Now()
	ps.mu.Lock()
	defer ps.mu.Unlock()
	newest, ran := ps.newestLocked(), ps.clock.at(now)
	for instance, p := range ps.known {
		if p.fresh(ran) {
			continue
		}
		expired := ps.forgetAfter > 0 && now.Sub(p.last()) > ps.forgetAfter
		if expired || p.state == stateDrained || p.superseded(newest) {
			delete(ps.known, instance)
			ps.sum = 0
			forgotten = append(forgotten, p)
		}
	}
	for instance, when := range ps.gone {
		if now.Sub(when) > max(ps.forgetAfter, defaultForgetAfter) {
			delete(ps.gone, instance)
		}
	}
	return forgotten
}

// newestLocked returns when the latest run of each node began that is heard, this one's included, by id.
func (ps *peers) newestLocked() map[string]int64 {
	newest := map[string]int64{ps.self.id: ps.self.started}
	for _, p := range ps.known {
		if !p.heard.IsZero() {
			if started, ok := newest[p.id]; !ok || p.started > started {
				newest[p.id] = p.started
			}
		}
	}
	return newest
}

// superseded reports whether the node has come back as another instance, which is heard.
func (p *peer) superseded(newest map[string]int64) bool {
	started, heard := newest[p.id]
	return heard && started > p.started
}

// split returns the instances that are heard, and how many others may hold users.
func (ps *peers) split() (reachable []string, unreachable int) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ran := ps.clock.now()
	for instance, p := range ps.known {
		switch {
		case p.fresh(ran):
			reachable = append(reachable, instance)
		case p.state != stateDrained:
			unreachable++
		}
	}
	return reachable, unreachable
}

// view returns the nodes that may hold users and are alive, this one included, and how many others may hold users.
func (ps *peers) view(self nodeState) (members []string, missing int) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if self < stateDrained {
		members = append(members, ps.self.instance)
	}
	ran := ps.clock.now()
	for instance, p := range ps.known {
		switch {
		case p.state == stateDrained:
		case p.fresh(ran):
			members = append(members, instance)
		default:
			missing++
		}
	}
	return members, missing
}

func (ps *peers) fresh(instance string) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.known[instance]
	return p != nil && p.fresh(ps.clock.now())
}

// holdsNoUsers reports whether no user can be at a node that does not answer: it has left, or was drained.
func (ps *peers) holdsNoUsers(instance string) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.known[instance]
	return p == nil || p.state == stateDrained
}

// isolated reports whether this node was told of others and has met none yet.
func (ps *peers) isolated() bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return !ps.metOthers && time.Now().Before(ps.isolatedUntil)
}

// briefs is what this node tells others of those it knows.
func (ps *peers) briefs() []peerBrief {
	now := time.Now()
	ps.mu.Lock()
	defer ps.mu.Unlock()
	var list []peerBrief
	for _, p := range ps.known {
		if p.state != stateDrained {
			list = append(list, peerBrief{ID: p.id, Instance: p.instance, Started: p.started, AgeMS: now.Sub(p.last()).Milliseconds()})
		}
	}
	return list
}

// NodeInfo is what a node knows of another one, or of itself.
type NodeInfo struct {
	ID       string    // Options.NodeID
	Self     bool      // it is the node that was asked
	Alive    bool      // its last heartbeat is younger than 1.5 s, time in which this process stood still left out
	Draining bool      // it takes no more users
	Users    int       // as of its last whole heartbeat, two seconds ago at the most
	LastSeen time.Time // when that arrived, here or, for one that is not alive, at another node
}

// Nodes returns the nodes that this one knows of, itself included, in the order of their ids. One that is not
// alive may be cut off or dead; Options.ForgetAfter says how long it stays.
func (n *Node) Nodes() []NodeInfo {
	list := []NodeInfo{{
		ID: n.id, Self: true, Alive: n.conn.IsConnected(), Draining: n.state() > stateServing, Users: n.users(), LastSeen: time.Now(),
	}}
	list = append(list, n.peers.infos()...)
	slices.SortFunc(list, func(a, b NodeInfo) int { return strings.Compare(a.ID, b.ID) })
	return list
}

func (ps *peers) infos() (list []NodeInfo) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ran := ps.clock.now()
	for _, p := range ps.known {
		list = append(list, NodeInfo{
			ID: p.id, Alive: p.fresh(ran), Draining: p.state > stateServing, Users: p.users, LastSeen: p.last(),
		})
	}
	return list
}
