package libnet

import (
	"iter"
	"maps"
	"sync"

	"github.com/libnet-go/libnet/internal/lock"
)

// A Group knows sessions by keys of the user's choice: user ids, room members. The zero value is ready.
// All methods may be called by any goroutine, also from close callbacks and from within All; no lock is
// held while a session is sent to or user code runs.
//
// A session leaves when it closes, before its Done is closed and its close callbacks run. It may be in many groups, and
// in one under many keys.
type Group[K comparable] struct {
	mu lock.RWMutex[groupLock]
	// mu guards the following.
	members  map[K]*member
	closed   bool
	snapshot *snapshot // nil when it must be made anew

	closes func() // called when it has been closed; of a group of [Groups], which closes with its last member; else nil
}

type groupLock struct{}

// member is one Put. It is compared by identity, so the end of a session that was replaced under its
// key does not touch the one that replaced it.
type member struct {
	session *Session
	leave   callback // the session's, for when it closes
}

func (m *member) forget() { m.session.forget(&m.leave) }

// Put adds s under key, in the place of another session that had the key: that one stays open, and its
// later end changes nothing here. A closed session, or one that is closing, is not added and nothing changes; after
// [Group.Close] none is. Neither is one under a key that does not equal itself, as NaN does not: nobody would find it.
func (g *Group[K]) Put(key K, s *Session) { g.swap(key, s) }

// Swap is [Group.Put], and returns the session that had the key before: nil if none had, if s had it itself, or if s
// was not added. Of several calls at the same time each returns another session, so if each caller closes what it was
// returned, one session is left: the one that [Group.Get] returns.
//
//	if old := users.Swap(name, s); old != nil {
//		go old.ShutdownWithError(ctx, errElsewhere)
//	}
//
// Until that has begun, old's handlers run: one that would enter its session again looks first whether Get still
// returns it.
func (g *Group[K]) Swap(key K, s *Session) (old *Session) {
	old, _ = g.swap(key, s)
	return old
}

func (g *Group[K]) swap(key K, s *Session) (old *Session, added bool) {
	m := &member{session: s}
	m.leave = callback{do: moduleEnd(func() { g.remove(key, m) })}
	if !equal(key, key) || !s.register(&m.leave) { // equal panics for a key of a type that no map takes
		return nil, false
	}
	replaced, added := g.replace(key, m)
	if !added {
		m.forget()
	}
	if replaced == nil {
		return nil, added
	}
	replaced.forget()
	if replaced.session == s {
		return nil, added
	}
	return replaced.session, added
}

func equal[K comparable](a, b K) bool { return a == b }

// replace does nothing with a session that has begun to close: the end of one that closes later finds m.
func (g *Group[K]) replace(key K, m *member) (old *member, added bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || m.session.IsClosed() {
		return nil, false
	}
	if g.members == nil {
		g.members = make(map[K]*member)
	}
	old = g.members[key]
	g.members[key] = m
	g.snapshot = nil
	return old, true
}

// Get returns the session under key, nil when there is none.
func (g *Group[K]) Get(key K) *Session {
	if m := g.member(key); m != nil {
		return m.session
	}
	return nil
}

// Remove removes s from key and reports whether it was there. It leaves another session under the key
// alone, and s open.
func (g *Group[K]) Remove(key K, s *Session) bool {
	m := g.member(key)
	return m != nil && m.session == s && g.remove(key, m)
}

func (g *Group[K]) member(key K) *member {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.members[key]
}

func (g *Group[K]) remove(key K, m *member) bool {
	if !g.delete(key, m) {
		return false
	}
	m.forget()
	return true
}

func (g *Group[K]) delete(key K, m *member) bool {
	g.mu.Lock()
	if g.members[key] != m {
		g.mu.Unlock()
		return false
	}
	delete(g.members, key)
	g.snapshot = nil
	g.unlockAndCloseEmpty()
	return true
}

// unlockAndCloseEmpty closes a group of [Groups] that has no member.
func (g *Group[K]) unlockAndCloseEmpty() {
	closes := g.closes
	if len(g.members) > 0 || g.closed {
		closes = nil
	}
	g.closed = g.closed || closes != nil
	g.mu.Unlock()
	if closes != nil {
		closes()
	}
}

// Len returns how many keys have a session.
func (g *Group[K]) Len() int {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return len(g.members)
}

// All iterates over the keys and sessions of the moment it begins, in no order.
func (g *Group[K]) All() iter.Seq2[K, *Session] {
	return func(yield func(K, *Session) bool) {
		keys, sessions := g.list()
		for i, key := range keys {
			if !yield(key, sessions[i]) {
				return
			}
		}
	}
}

func (g *Group[K]) list() (keys []K, sessions []*Session) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	keys, sessions = make([]K, 0, len(g.members)), make([]*Session, 0, len(g.members))
	for key, m := range g.members {
		keys, sessions = append(keys, key), append(sessions, m.session)
	}
	return keys, sessions
}

// Broadcast sends msg to all members and says what happened to how many. It never waits for a peer: a full
// queue is handled as its session's Config.OnFull says, and a synchronous session takes one message at a
// time from broadcasts. The message is encoded once for all sessions of one protocol. Broadcasts that are
// made at the same time may reach members in different orders: where all must see one order, hold a lock of
// your own around Broadcast.
//
// The codec of each protocol is a part of the call: a [FrameAppender] encodes msg in the caller, as for Send. It waits
// for other codecs of the user's: 10 ms for one that is being made or has another message, and no longer than 0.1 s for
// all of those; such a member counts as Blocked. Codecs that are at work on this message by then it leaves to
// themselves until it has been to all members. Those that keep it for two seconds more have their sessions ended.
//
// A member whose codec cannot encode msg is in none of the counts; its server logs that.
func (g *Group[K]) Broadcast(msg any) BroadcastResult { return g.BroadcastExcept(msg, nil) }

// BroadcastExcept is [Group.Broadcast] to all members but one, such as the one whose message it was. That one need not
// be a member, and is in none of the counts.
func (g *Group[K]) BroadcastExcept(msg any, except *Session) BroadcastResult {
	b := broadcast{msg: msg}
	return g.broadcast(&b, except)
}

// BroadcastBytes is [Group.Broadcast] of a []byte, which it puts into an any only for codecs that do not send bytes as
// they are: see [Session.SendBytes].
func (g *Group[K]) BroadcastBytes(msg []byte) BroadcastResult {
	return g.BroadcastBytesExcept(msg, nil)
}

// BroadcastBytesExcept is [Group.BroadcastExcept] of a []byte.
func (g *Group[K]) BroadcastBytesExcept(msg []byte, except *Session) BroadcastResult {
	b := broadcast{bytes: msg, isBytes: true}
	return g.broadcast(&b, except)
}

func (g *Group[K]) broadcast(b *broadcast, except *Session) BroadcastResult {
	all := g.sessions()
	b.repeats = all.repeats
	return b.send(all.sessions, except)
}

// A snapshot is the sessions of a group's members, in no order. Immutable.
type snapshot struct {
	sessions []*Session
	repeats  func() bool // whether there is one under several keys
}

func newSnapshot[K comparable](members map[K]*member) *snapshot {
	all := make([]*Session, 0, len(members))
	for _, m := range members {
		all = append(all, m.session)
	}
	return &snapshot{all, sync.OnceValue(func() bool { return repeats(all) })}
}

func repeats(all []*Session) bool {
	seen := make(map[*Session]struct{}, len(all))
	for _, s := range all {
		seen[s] = struct{}{}
	}
	return len(seen) < len(all)
}

// sessions returns the members' sessions of now.
func (g *Group[K]) sessions() *snapshot {
	g.mu.RLock()
	snapshot := g.snapshot
	g.mu.RUnlock()
	if snapshot != nil {
		return snapshot
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.snapshot == nil {
		g.snapshot = newSnapshot(g.members)
	}
	return g.snapshot
}

// Close removes all sessions, leaving them open, and takes no new ones.
func (g *Group[K]) Close() {
	g.mu.Lock()
	members, closes := g.members, g.closes
	g.members, g.snapshot, g.closed = nil, nil, true
	g.mu.Unlock()
	for _, m := range members {
		m.forget()
	}
	if closes != nil {
		closes()
	}
}

func (g *Group[K]) isClosed() bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.closed
}

// Groups are groups by name: the rooms of a chat, the tables of a game. There is one for as long as it has a member.
// The zero value is ready. All methods may be called by any goroutine, as those of [Group].
type Groups[N, K comparable] struct {
	mu lock.RWMutex[groupsLock]
	// mu guards the following.
	groups map[N]*Group[K]
}

type groupsLock struct{}

// Put adds s under key to the group of that name, as [Group.Put] does, and makes the group if there is none. A name
// that does not equal itself names none.
func (r *Groups[N, K]) Put(name N, key K, s *Session) {
	if equal(name, name) {
		for !r.putIn(r.findOrMake(name), name, key, s) {
		}
	}
}

// putIn is not done when g has lost its last member since it was found.
func (r *Groups[N, K]) putIn(g *Group[K], name N, key K, s *Session) (done bool) {
	defer func() { // s may have ended, or key panic
		g.mu.Lock()
		g.unlockAndCloseEmpty()
	}()
	if _, added := g.swap(key, s); added || !g.isClosed() {
		return true
	}
	r.forget(name, g)
	return false
}

func (r *Groups[N, K]) findOrMake(name N) *Group[K] {
	r.mu.Lock()
	defer r.mu.Unlock()
	g := r.groups[name]
	if g == nil {
		if r.groups == nil {
			r.groups = make(map[N]*Group[K])
		}
		g = new(Group[K])
		g.closes = func() { r.forget(name, g) }
		r.groups[name] = g
	}
	return g
}

func (r *Groups[N, K]) forget(name N, g *Group[K]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.groups[name] == g {
		delete(r.groups, name)
	}
}

// Get returns the group of that name, for everything but Put: to broadcast, to remove a member, to count them. Where
// there is none it returns a closed one, which has no members. A group closes with its last member, and another has its
// name from the next Put on: so ask for it each time.
func (r *Groups[N, K]) Get(name N) *Group[K] {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if g := r.groups[name]; g != nil {
		return g
	}
	return &Group[K]{closed: true}
}

// Len returns how many groups there are.
func (r *Groups[N, K]) Len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.groups)
}

// All iterates over the groups of the moment it begins, in no order.
func (r *Groups[N, K]) All() iter.Seq2[N, *Group[K]] {
	return func(yield func(N, *Group[K]) bool) {
		for name, g := range r.list() {
			if !yield(name, g) {
				return
			}
		}
	}
}

func (r *Groups[N, K]) list() map[N]*Group[K] {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return maps.Clone(r.groups)
}
