package directory_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/libnet-go/libnet/cluster/internal/directory"
)

const (
	beat    = 500 * time.Millisecond
	silence = 1500 * time.Millisecond
)

// A network joins nodes by channels that deliver late, in order, or not at all. It runs in a bubble of synctest.
type network struct {
	t      *testing.T
	ctx    context.Context
	random *rand.Rand

	mu sync.Mutex
	// mu guards the following.
	nodes map[string]*node
	cut   map[[2]string]bool         // from, to: nothing arrives
	slow  map[string]time.Duration   // what is added on the way to and from a node
	lost  func(from, to string) bool // nil: nothing is lost but by cuts
	last  map[[2]string]time.Time    // when the last message of a pair arrives
	sent  int                        // messages, without heartbeats
	dead  map[string]bool
	lanes map[[2]string]chan delivery // in order
}

type delivery struct {
	at   time.Time
	data []byte
	beat *heartbeat
}

type heartbeat struct {
	from string
	done uint32
}

// A node is a directory with its host, and who it has heard.
type node struct {
	*directory.Directory
	net  *network
	name string

	mu sync.Mutex
	// mu guards the following.
	heard  map[string]time.Time
	silent map[string]bool // heard once, and neither now nor gone for good
	bound  map[string]uint64
	last   uint64
}

func newNetwork(t *testing.T, seed uint64) *network {
	ctx, cancel := context.WithCancel(context.Background())
	n := &network{
		t: t, ctx: ctx, random: rand.New(rand.NewPCG(seed, seed)),
		nodes: make(map[string]*node), cut: make(map[[2]string]bool), slow: make(map[string]time.Duration),
		last: make(map[[2]string]time.Time), dead: make(map[string]bool), lanes: make(map[[2]string]chan delivery),
	}
	t.Cleanup(func() {
		cancel()
		time.Sleep(2 * time.Second) // nothing of the bubble may still sleep when it ends
	})
	return n
}

// start adds nodes, and waits until they see each other.
func (n *network) start(names ...string) (started []*node) {
	for _, name := range names {
		d := &node{net: n, name: name, heard: make(map[string]time.Time), silent: make(map[string]bool), bound: make(map[string]uint64)}
		d.Directory = directory.New(name, bus{n, name}, d)
		n.mu.Lock()
		n.nodes[name] = d
		n.mu.Unlock()
		go d.Run(n.ctx)
		go d.beats()
		started = append(started, d)
	}
	time.Sleep(2 * beat)
	return started
}

func (n *network) mesh(count int) []*node {
	var names []string
	for i := range count {
		names = append(names, fmt.Sprint("N", i))
	}
	return n.start(names...)
}

// kill ends a node without a word.
func (n *network) kill(name string) {
	n.mu.Lock()
	d := n.nodes[name]
	n.dead[name] = true
	delete(n.nodes, name)
	n.mu.Unlock()
	d.Close()
}

func (n *network) partition(parts ...[]*node) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, part := range parts {
		for j, other := range parts {
			for _, a := range part {
				for _, b := range other {
					n.cut[[2]string{a.name, b.name}] = i != j
				}
			}
		}
	}
}

func (n *network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
}

func (n *network) post(from, to string, d delivery) {
	n.mu.Lock()
	pair := [2]string{from, to}
	if n.dead[to] || n.dead[from] || n.cut[pair] || d.beat == nil && n.lost != nil && n.lost(from, to) {
		n.mu.Unlock()
		return
	}
	if d.beat == nil {
		n.sent++
	}
	d.at = time.Now().Add(time.Duration(n.random.IntN(2000))*time.Microsecond + n.slow[from] + n.slow[to])
	if d.at.Before(n.last[pair]) {
		d.at = n.last[pair]
	}
	n.last[pair] = d.at
	lane := n.lanes[pair]
	if lane == nil {
		lane = make(chan delivery, 1<<16)
		n.lanes[pair] = lane
		go n.deliver(pair, lane)
	}
	n.mu.Unlock()
	lane <- d
}

func (n *network) deliver(pair [2]string, lane <-chan delivery) {
	for {
		select {
		case d := <-lane:
			time.Sleep(time.Until(d.at))
			n.mu.Lock()
			to := n.nodes[pair[1]]
			if n.cut[pair] {
				to = nil
			}
			n.mu.Unlock()
			switch {
			case to == nil:
			case d.beat != nil:
				to.hear(*d.beat)
			default:
				to.Handle(d.data)
			}
		case <-n.ctx.Done():
			return
		}
	}
}

type bus struct {
	net  *network
	from string
}

func (b bus) Publish(to string, data []byte) error {
	b.net.post(b.from, to, delivery{data: data})
	return nil
}

func (d *node) Announce() {
	d.net.mu.Lock()
	var others []string
	for name := range d.net.nodes {
		if name != d.name {
			others = append(others, name)
		}
	}
	d.net.mu.Unlock()
	for _, to := range others {
		d.net.post(d.name, to, delivery{beat: &heartbeat{from: d.name, done: d.Done()}})
	}
}

func (d *node) Replaced(user string, session uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bound[user] == session {
		delete(d.bound, user)
	}
}

func (d *node) beats() {
	d.Announce()
	tick := time.NewTicker(beat / 5)
	defer tick.Stop()
	for i := 1; ; i++ {
		select {
		case <-tick.C:
		case <-d.net.ctx.Done():
			return
		}
		d.net.mu.Lock()
		dead := d.net.dead[d.name]
		d.net.mu.Unlock()
		if dead {
			return
		}
		d.look()
		if i%5 == 0 {
			d.Announce()
			d.Tick()
		}
	}
}

func (d *node) hear(h heartbeat) {
	d.mu.Lock()
	_, known := d.heard[h.from]
	d.heard[h.from] = time.Now()
	delete(d.silent, h.from)
	d.mu.Unlock()
	if !known {
		d.look()
		d.Announce()
	}
	d.PeerDone(h.from, h.done)
}

// look makes who is heard the directory's view.
func (d *node) look() {
	d.mu.Lock()
	defer d.mu.Unlock()
	view := []string{d.name}
	for name, at := range d.heard {
		if time.Since(at) < silence {
			view = append(view, name)
		} else {
			delete(d.heard, name)
			d.silent[name] = true
		}
	}
	d.SetView(view, len(d.silent))
}

// forget takes a silent node for dead.
func (d *node) forget(name string) {
	d.mu.Lock()
	delete(d.silent, name)
	d.mu.Unlock()
	d.look()
}

// login binds a user, as Bind does.
func (d *node) login(user string) (session uint64, err error) {
	return d.loginWithin(user, 10*time.Second)
}

func (d *node) loginWithin(user string, within time.Duration) (session uint64, err error) {
	d.mu.Lock()
	d.last++
	session = d.last
	d.bound[user] = session
	d.Hold(user, session)
	d.mu.Unlock()
	ctx, cancel := context.WithTimeout(d.net.ctx, within)
	defer cancel()
	if err := d.Register(ctx, user, session); err != nil {
		d.Replaced(user, session)
		d.Unhold(user, session)
		return 0, err
	}
	return session, nil
}

func (d *node) logout(user string) {
	d.mu.Lock()
	session := d.bound[user]
	delete(d.bound, user)
	d.mu.Unlock()
	d.Unhold(user, session)
}

// holds returns the session that has the user here, 0 if none has.
func (d *node) holds(user string) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.bound[user]
}

// locate asks within a time that no healthy network needs.
func (d *node) locate(user string) (directory.Login, error) {
	ctx, cancel := context.WithTimeout(d.net.ctx, 10*time.Second)
	defer cancel()
	return d.Locate(ctx, user)
}

func holders(nodes []*node, user string) (held []*node) {
	for _, d := range nodes {
		if d.holds(user) != 0 {
			held = append(held, d)
		}
	}
	return held
}

// wantAt wants that one node holds the user, and that all know.
func wantAt(t *testing.T, nodes []*node, user string, at *node) {
	t.Helper()
	if held := holders(nodes, user); len(held) != 1 || held[0] != at {
		t.Fatalf("%s is held by %d nodes, want by %s alone", user, len(held), at.name)
	}
	for _, d := range nodes {
		if l, err := d.locate(user); err != nil || l.Node != at.name {
			t.Fatalf("%s asked for %s: %+v, %v; want %s", d.name, user, l, err, at.name)
		}
	}
}
