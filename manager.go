package libnet

import (
	"iter"
	"sync"
	"sync/atomic"

	"github.com/libnet-go/libnet/internal/lock"
)

// managerShards is the original design's number. docs/measurements.md has the measurement: these tables against shards of
// maps with a lock each, and sync.Map.
const managerShards = 32

// A Manager knows open sessions by their id. All methods may be called by any goroutine; no lock is
// held while user code runs. Lookups and iterations take none.
type Manager struct {
	shards [managerShards]managerShard
}

type managerShard struct {
	sessions sessionTable
	disposed atomic.Bool

	// mu is held by those who write the above.
	mu lock.Mutex[shardLock]
}

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

// GetSession returns the open session with this id, nil when there is none.
func (m *Manager) GetSession(id uint64) *Session {
	shard := m.shard(id)
	if shard.disposed.Load() {
		return nil
	}
	return shard.sessions.get(id)
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

// Dispose closes all sessions with the reason [ErrServerClosed] and takes no new ones. When it returns,
// their close callbacks have run, but for those of sessions that somebody else was closing.
func (m *Manager) Dispose() {
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
