package resume

import (
	"container/list"
	"iter"
	"maps"
	"slices"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/lock"
)

// A Group knows sessions by keys of the user's choice, as [libnet.Group] does those of connections: a session stays in
// it while it has no connection, and what is broadcast then reaches it with its next one. The zero value is ready. All
// methods may be called by any goroutine; no lock is held while a session is sent to.
type Group[K comparable] struct {
	mu lock.Mutex[groupLock]
	// mu guards the following. Keys are compared under it.
	members map[K]*member
}

// A member is one Put. It is compared by identity: the end of a session that was replaced does not touch the one that
// replaced it.
type member struct {
	session *Session
	leave   *list.Element // the session's, for when it ends
}

func (m *member) forget() { m.session.unregister(m.leave) }

// Put adds s under key, in the place of another session that had the key, which it returns; that one stays open. It
// leaves the group when it ends, before Done is closed. One that has ended is not added, nor is one under a key that
// does not equal itself, as NaN does not.
func (g *Group[K]) Put(key K, s *Session) (old *Session) {
	m := &member{session: s}
	if !equal(key, key) { // panics for a key of a type that no map takes
		return nil
	}
	m.leave = s.register(func() { g.delete(key, m) })
	if m.leave == nil {
		return nil
	}
	replaced, added := g.replace(key, m)
	if !added {
		m.forget()
	}
	if replaced == nil {
		return nil
	}
	replaced.forget()
	if replaced.session == s {
		return nil
	}
	return replaced.session
}

func equal[K comparable](a, b K) bool { return a == b }

// replace does nothing with a session that has ended: the end of one that ends later finds m.
func (g *Group[K]) replace(key K, m *member) (old *member, added bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if m.session.State() == Closed {
		return nil, false
	}
	if g.members == nil {
		g.members = make(map[K]*member)
	}
	old = g.members[key]
	g.members[key] = m
	return old, true
}

// Get returns the session under key, nil when there is none.
func (g *Group[K]) Get(key K) *Session {
	if m := g.member(key); m != nil {
		return m.session
	}
	return nil
}

// Remove removes s from key and reports whether it was there. It leaves another session under the key alone, and s
// open.
func (g *Group[K]) Remove(key K, s *Session) bool {
	m := g.member(key)
	if m == nil || m.session != s || !g.delete(key, m) {
		return false
	}
	m.forget()
	return true
}

func (g *Group[K]) member(key K) *member {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.members[key]
}

func (g *Group[K]) delete(key K, m *member) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.members[key] != m {
		return false
	}
	delete(g.members, key)
	return true
}

// Len returns how many keys have a session.
func (g *Group[K]) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.members)
}

// All iterates over the keys and sessions of the moment it begins, in no order.
func (g *Group[K]) All() iter.Seq2[K, *Session] {
	return func(yield func(K, *Session) bool) {
		g.mu.Lock()
		members := maps.Clone(g.members)
		g.mu.Unlock()
		for key, m := range members {
			if !yield(key, m.session) {
				return
			}
		}
	}
}

// Broadcast sends msg to all members but except, which may be nil, and says what happened to how many. It never waits;
// Blocked are those that have as much unacknowledged as Config allows. The message is encoded once for all sessions of
// one Server or Client, which share its bytes for as long as one of them keeps it. A member for which msg cannot be
// encoded, or is too long, is in none of the counts.
func (g *Group[K]) Broadcast(msg any, except *Session) (result libnet.BroadcastResult) {
	var encoded []sharedMessage
	for _, s := range g.All() {
		if s == except {
			continue
		}
		i := slices.IndexFunc(encoded, func(e sharedMessage) bool { return e.config == s.common.config })
		if i < 0 {
			data, err := encode(s.common.config.marshaler(), nil, msg)
			frame := append([]byte{kindMessage}, data...) // a copy: data may be memory that the marshaler uses again
			i, encoded = len(encoded), append(encoded, sharedMessage{s.common.config, frame, err})
		}
		err := encoded[i].err
		if err == nil {
			_, err = s.accept(kindMessage, encoded[i].frame[1:], encoded[i].frame)
		}
		switch {
		case err == nil:
			result.Sent++
		case is(err, libnet.ErrSessionBlocked):
			result.Blocked++
		case s.State() == Closed, is(err, libnet.ErrSessionClosed):
			result.Closed++
		}
	}
	return result
}

// A sharedMessage is one that is encoded for sessions of one configuration.
type sharedMessage struct {
	config *Config
	frame  []byte
	err    error
}
