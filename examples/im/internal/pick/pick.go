// Package pick chooses the access server of a client: of two at random, the one with less to do.
//
//	p := pick.New(watcher.Snapshot)
//	server, ok := p.Pick(nil)
//
// Why not simply the least loaded of all: loads are reported once a second, and everybody who asks in
// that second would be sent to the same server. What this picker itself has handed out since a server's
// last report counts as load already; what other gateways hand out is why the choice is among two.
package pick

import (
	"math/rand/v2"
	"sync"

	"github.com/libnet-go/libnet/examples/im/internal/registry"
)

// Picker picks access servers. Its methods may be called by any goroutine.
type Picker struct {
	snapshot func() *registry.Snapshot // immutable

	// mu guards the following.
	mu     sync.Mutex
	latest *registry.Snapshot
	own    map[string]picks // by server id, for the servers of latest
	able   []registry.Server
}

// picks is how often a server was picked since one report of it.
type picks struct {
	report int64
	n      int
}

// New returns a picker from the list that snapshot returns at each pick. It is called under the picker's
// lock and must not wait.
func New(snapshot func() *registry.Snapshot) *Picker {
	return &Picker{snapshot: snapshot}
}

// Pick chooses among the servers that take clients and for which suits is true; nil suits all. It
// returns false when there is none. A server that is full is chosen all the same when no other is less
// so: what is known of its load may be old.
func (p *Picker) Pick(suits func(registry.Server) bool) (registry.Server, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.updateLocked()
	p.able = p.able[:0]
	for s := range p.latest.All() {
		if s.Takes() && (suits == nil || suits(s)) {
			p.able = append(p.able, s)
		}
	}
	if len(p.able) == 0 {
		return registry.Server{}, false
	}
	chosen := p.able[rand.IntN(len(p.able))]
	if len(p.able) > 1 {
		// Another one: the index skips the first's.
		i := rand.IntN(len(p.able) - 1)
		if p.able[i].ID == chosen.ID {
			i = len(p.able) - 1
		}
		if other := p.able[i]; p.loadLocked(other) < p.loadLocked(chosen) {
			chosen = other
		}
	}
	own := p.own[chosen.ID]
	own.n++
	p.own[chosen.ID] = own
	return chosen, true
}

// updateLocked takes over a new list, and with each new report forgets the picks that it shows.
func (p *Picker) updateLocked() {
	snapshot := p.snapshot()
	if snapshot == p.latest {
		return
	}
	own := make(map[string]picks, snapshot.Len())
	for s := range snapshot.All() {
		own[s.ID] = picks{report: s.Report}
		if before, ok := p.own[s.ID]; ok && before.report == s.Report {
			own[s.ID] = before
		}
	}
	p.latest, p.own = snapshot, own
}

// loadLocked is the part of its capacity that a server has in use; it may be above 1.
func (p *Picker) loadLocked(s registry.Server) float64 {
	return float64(s.Sessions+p.own[s.ID].n) / float64(s.Capacity)
}
