package libnet

import (
	"iter"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/libnet-go/libnet/internal/lock"
)

// managerShards is the original design's number. docs/measurements.md has the measurement: these tables against shards
// of maps with a lock each, and sync.Map.
const managerShards = 32

// A Manager knows open sessions by their id. All methods may be called by any goroutine; no lock is
// held while user code runs. Lookups and iterations take none.
type Manager struct {
	shards  [managerShards]managerShard
	emptied atomic.Bool // by Dispose: what is still ending is not found
}

type managerShard struct {
	sessions sessionTable
	disposed atomic.Bool

	// mu is held by those who write the above.
	mu lock.Mutex[shardLock]
}

type shardLock struct{}

// NewManager returns a manager without sessions.
func NewManager() *Manager { return new(Manager) }

func (m *Manager) shard(id uint64) *managerShard { return &m.shards[id%managerShards] }

// NewSession makes a session from a bare codec, as the function [NewSession] does, and adds it. After
// [Manager.Dispose] the session it returns is closed.
func (m *Manager) NewSession(codec Codec, sendChanSize int) *Session {
	s := newBareSession(m, codec, sendChanSize)
	if !m.add(s) {
		s.terminate(ErrServerClosed)
	}
	return s
}

// GetSession returns the open session with this id, nil when there is none, and after Dispose.
func (m *Manager) GetSession(id uint64) *Session {
	if m.emptied.Load() {
		return nil
	}
	return m.shard(id).sessions.get(id)
}

// Len returns how many sessions are open.
func (m *Manager) Len() int {
	n := 0
	for i := range m.shards {
		shard := &m.shards[i]
		shard.mu.Lock()
		n += shard.sessions.live
		shard.mu.Unlock()
	}
	return n
}

// All iterates over the open sessions, in no order. Sessions that come or go meanwhile may or may not
// be seen; the loop's body may close sessions.
func (m *Manager) All() iter.Seq[*Session] {
	return func(yield func(*Session) bool) {
		for i := range m.shards {
			slots := m.shards[i].sessions.all()
			for j := range slots {
				if s := slots[j].session.Load(); s != nil && !yield(s) {
					return
				}
			}
		}
	}
}

// Broadcast sends msg to all open sessions, as [Group.Broadcast] does.
func (m *Manager) Broadcast(msg any) BroadcastResult { return m.BroadcastExcept(msg, nil) }

// BroadcastExcept sends msg to all open sessions but one, as [Group.BroadcastExcept] does.
func (m *Manager) BroadcastExcept(msg any, except *Session) BroadcastResult {
	b := broadcast{msg: msg}
	return m.broadcast(&b, except)
}

// BroadcastBytes is [Manager.Broadcast] of a []byte, as [Group.BroadcastBytes] is Broadcast's.
func (m *Manager) BroadcastBytes(msg []byte) BroadcastResult { return m.BroadcastBytesExcept(msg, nil) }

// BroadcastBytesExcept is [Manager.BroadcastExcept] of a []byte.
func (m *Manager) BroadcastBytesExcept(msg []byte, except *Session) BroadcastResult {
	b := broadcast{bytes: msg, isBytes: true}
	return m.broadcast(&b, except)
}

func (m *Manager) broadcast(b *broadcast, except *Session) BroadcastResult {
	list := sessionLists.Get().(*[]*Session)
	*list = slices.AppendSeq((*list)[:0], m.All())
	result := b.send(*list, except)
	clear(*list)
	sessionLists.Put(list)
	return result
}

var sessionLists = sync.Pool{New: func() any { return new([]*Session) }}

// Dispose closes all sessions with the reason [ErrServerClosed] and takes no new ones. When it returns,
// their close callbacks have run, but for those of sessions that somebody else was closing.
func (m *Manager) Dispose() {
	m.emptied.Store(true)
	m.dispose()
	var ends sync.WaitGroup
	for s := range m.All() {
		ends.Go(func() { s.terminate(ErrServerClosed) })
	}
	ends.Wait()
}

// dispose makes the manager refuse sessions: each shard from the moment its lock is taken.
func (m *Manager) dispose() {
	for i := range m.shards {
		shard := &m.shards[i]
		shard.mu.Lock()
		shard.disposed.Store(true)
		shard.mu.Unlock()
	}
}

func (m *Manager) add(s *Session) bool {
	shard := m.shard(s.id)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if shard.disposed.Load() {
		return false
	}
	shard.sessions.add(s)
	return true
}

func (m *Manager) remove(s *Session) {
	shard := m.shard(s.id)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	shard.sessions.remove(s)
}

// A sessionTable finds sessions by id. Any goroutine may call get and all at any time, without a lock;
// calls of add and remove are serialised.
//
// It is open-addressed, and reading it is this simple because an id never comes again: a slot, once
// taken, belongs to its id for good. When too few slots are free, the sessions move to new ones, and the
// slots of those that have left are given up.
type sessionTable struct {
	slots atomic.Pointer[[]sessionSlot] // their number is a power of two; a quarter of them is free
	taken int                           // slots with an id
	live  int                           // of these, the ones with a session
}

type sessionSlot struct {
	id      atomic.Uint64 // 0 while the slot is free; set after session
	session atomic.Pointer[Session]
}

// minSessionSlots is the size of a table's first slots.
const minSessionSlots = 8

func (t *sessionTable) get(id uint64) *Session {
	if slot, taken := findSlot(t.all(), id); taken {
		return slot.session.Load()
	}
	return nil
}

// all returns the slots of this moment. They may lack sessions added later, and hold sessions removed
// later.
func (t *sessionTable) all() []sessionSlot {
	if slots := t.slots.Load(); slots != nil {
		return *slots
	}
	return nil
}

// findSlot returns the slot that id has taken, or the free one where the search for it ends. A free slot
// is only for those who write: another id may be about to take it.
func findSlot(slots []sessionSlot, id uint64) (slot *sessionSlot, taken bool) {
	// Ids are consecutive. The multiplication (Fibonacci hashing: Knuth, TAOCP 6.4) keeps them from lying
	// in one long run that a search for another has to pass.
	for i := id * 0x9e3779b97f4a7c15 >> 20; len(slots) > 0; i++ {
		slot := &slots[i&uint64(len(slots)-1)]
		if at := slot.id.Load(); at == id || at == 0 {
			return slot, at != 0
		}
	}
	return nil, false
}

func (t *sessionTable) add(s *Session) {
	slots := t.all()
	if t.taken >= len(slots)/4*3 {
		slots = t.move(slots)
	}
	takeSlot(slots, s)
	t.taken++
	t.live++
}

func takeSlot(slots []sessionSlot, s *Session) {
	slot, _ := findSlot(slots, s.id)
	slot.session.Store(s)
	slot.id.Store(s.id)
}

// move moves the sessions to new slots, of which they take half at most.
func (t *sessionTable) move(old []sessionSlot) []sessionSlot {
	slots := make([]sessionSlot, max(minSessionSlots, 1<<bits.Len(uint(2*t.live))))
	for i := range old {
		if s := old[i].session.Load(); s != nil {
			takeSlot(slots, s)
		}
	}
	t.taken = t.live
	t.slots.Store(&slots)
	return slots
}

func (t *sessionTable) remove(s *Session) {
	if slot, taken := findSlot(t.all(), s.id); taken && slot.session.Swap(nil) != nil {
		t.live--
	}
}
