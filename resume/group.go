package resume

import (
	"bytes"
	"iter"
	"maps"
	"slices"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/lock"
)

// A Group knows sessions by keys of the user's choice, as [libnet.Group] does those of connections: a session stays in it while it
// has no connection, and what is broadcast then reaches it with its next one. The zero value is ready. All methods may be called by
// any goroutine; no lock is held while a session is sent to.
type Group[K comparable] struct {
	mu lock.Mutex[groupLock]
	// mu guards the following. Keys are compared under it.
	members map[K]*Session
}

// Put adds s under key, in the place of another session that had the key, which it returns; that one stays open. It leaves the group
// when it ends. One that has ended is not added.
func (g *Group[K]) Put(key K, s *Session) (old *Session) {
	if old = g.replace(key, s); old == s {
		return nil
	}
	s.OnClose(func() { g.Remove(key, s) }) // at once, if it has ended
	return old
}

func (g *Group[K]) replace(key K, s *Session) (old *Session) {
	g.mu.Lock()
	defer g.mu.Unlock() // key may be of a type that no map takes
	if g.members == nil {
		g.members = make(map[K]*Session)
	}
	old = g.members[key]
	g.members[key] = s
	return old
}

// Get returns the session under key, nil when there is none.
func (g *Group[K]) Get(key K) *Session {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.members[key]
}

// Remove removes s from key and reports whether it was there. It leaves another session under the key alone, and s open.
func (g *Group[K]) Remove(key K, s *Session) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.members[key] != s || s == nil {
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
		maps.All(members)(yield)
	}
}

// Broadcast sends msg to all members but except, which may be nil, and says what happened to how many. It never waits; Blocked are
// those that have as much unacknowledged as Config allows. The message is encoded once for all sessions of one Server or Client, which
// share its bytes for as long as one of them keeps it. A member for which msg cannot be encoded, or is too long, is in none of the counts.
func (g *Group[K]) Broadcast(msg any, except *Session) (result libnet.BroadcastResult) {
	var encoded []sharedMessage
	for _, s := range g.All() {
		if s == except {
			continue
		}
		i := slices.IndexFunc(encoded, func(e sharedMessage) bool { return e.config == s.config })
		if i < 0 {
			data, err := encode(s.config.marshaler(), nil, msg)
			data = bytes.Clone(data) // it may be memory that the marshaler uses again
			i, encoded = len(encoded), append(encoded, sharedMessage{s.config, data, err})
		}
		err := encoded[i].err
		if err == nil {
			_, err = s.accept(encoded[i].data, true, false)
		}
		switch {
		case err == nil:
			result.Sent++
		case is(err, libnet.ErrSessionBlocked):
			result.Blocked++
		case s.State() == Closed:
			result.Closed++
		}
	}
	return result
}

// A sharedMessage is one that is encoded for sessions of one configuration.
type sharedMessage struct {
	config *Config
	data   []byte
	err    error
}
