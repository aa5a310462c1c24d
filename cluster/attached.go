package cluster

import (
	"slices"

	"github.com/libnet-go/libnet"
)

// attached is what a session has here.
type attached struct {
	session *libnet.Session
	addr    string // the peer's
	users   []*binding
	groups  []string // tokens
}

// attachedLocked returns what s has, which is made if need be.
func (d *dispatcher) attachedLocked(s *libnet.Session, addr string) *attached {
	a := d.sessions[s.ID()]
	if a == nil {
		a = &attached{session: s, addr: addr}
		d.sessions[s.ID()] = a
	}
	return a
}

func (d *dispatcher) attachUserLocked(b *binding) {
	a := d.attachedLocked(b.session, b.addr)
	a.users = append(a.users, b)
}

func (d *dispatcher) attachGroupLocked(s *libnet.Session, addr, token string) {
	a := d.attachedLocked(s, addr)
	a.groups = append(a.groups, token)
}

func (d *dispatcher) detachUserLocked(b *binding) {
	if a := d.sessions[b.session.ID()]; a != nil {
		a.users = without(a.users, b)
		d.dropLocked(a)
	}
}

func (d *dispatcher) detachGroupLocked(session uint64, token string) {
	if a := d.sessions[session]; a != nil {
		a.groups = without(a.groups, token)
		d.dropLocked(a)
	}
}

func (d *dispatcher) dropLocked(a *attached) {
	if len(a.users)+len(a.groups) == 0 {
		delete(d.sessions, a.session.ID())
	}
}

// without is list without one of its values, in another order.
func without[T comparable](list []T, value T) []T {
	i := slices.Index(list, value)
	if i < 0 {
		return list
	}
	last := len(list) - 1
	list[i] = list[last]
	clear(list[last:])
	return list[:last]
}

// evict has a session end with what is queued for it, and detaches it from all that it has first: what is sent to its
// users and groups from then on does not reach it. It is false for a session that has nothing here, or is closed.
func (d *dispatcher) evict(session uint64, reason error) bool {
	d.mu.Lock()
	a := d.sessions[session]
	if a == nil || a.session.IsClosed() {
		d.mu.Unlock()
		return false
	}
	s, users, groups := a.session, slices.Clone(a.users), slices.Clone(a.groups)
	d.mu.Unlock()
	for _, b := range users {
		d.remove(b, reason)
	}
	for _, token := range groups {
		d.leave(token, session)
	}
	d.node.stats.kicked.Add(1)
	d.node.end(s, reason)
	return true
}
