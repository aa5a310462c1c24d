//go:build unix

package libnet_test

import (
	"math/bits"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/libnet-go/libnet"
)

// BenchmarkSessionTable compares what Manager could keep sessions in; docs/measurements.md has what came out. Run
// one round after the other (-cpu 2, no -count), so that a drift of the machine meets all alike.
func BenchmarkSessionTable(b *testing.B) {
	for _, sessions := range []int{10_000, 1_000_000} {
		for _, table := range []struct {
			name string
			make func() sessionTable
		}{
			{"32xRWMutex", func() sessionTable { return make(rwShards, 32) }},
			{"256xRWMutex", func() sessionTable { return make(rwShards, 256) }},
			{"32xMutex", func() sessionTable { return make(mutexShards, 32) }},
			{"sync.Map", func() sessionTable { return new(syncMap) }},
			{"32xOpen", func() sessionTable { return make(openShards, 32) }},
		} {
			b.Run(strconv.Itoa(sessions)+"/"+table.name, func(b *testing.B) {
				benchmarkTable(b, sessions, table.make())
			})
		}
	}
}

// A sessionTable is safe for use by many goroutines. Ids are never 0 and never come again.
type sessionTable interface {
	get(id uint64) *libnet.Session
	add(id uint64, s *libnet.Session)
	remove(id uint64)
	each(yield func(*libnet.Session) bool) // without a lock while yield runs
}

func benchmarkTable(b *testing.B, sessions int, table sessionTable) {
	ids := make([]uint64, sessions)
	var lastID atomic.Uint64
	one := new(libnet.Session) // which session it is makes no difference to a table
	before := heapBytes()
	for i := range ids {
		ids[i] = lastID.Add(1)
		table.add(ids[i], one)
	}
	bytes := heapBytes() - before
	rand.Shuffle(sessions, func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })

	// Each goroutine has its part of the ids to itself, so it knows which are in the table.
	for _, work := range []struct {
		name       string
		churnEvery int
	}{{"get", 0}, {"get+churn", 10}, {"churn", 1}} {
		b.Run(work.name, func(b *testing.B) {
			defer reportCPU(b, b.N)()
			var workers atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				part := sessions / runtime.GOMAXPROCS(0)
				from := part * int(workers.Add(1)-1)
				own := ids[from : from+part]
				for i := 0; pb.Next(); i++ {
					id := &own[i%part]
					if work.churnEvery > 0 && i%work.churnEvery == 0 {
						table.remove(*id)
						*id = lastID.Add(1)
						table.add(*id, one)
					} else if table.get(*id) != one {
						b.Error("a session was not found")
					}
				}
			})
		})
	}
	b.Run("all", func(b *testing.B) {
		defer reportCPU(b, b.N*sessions)()
		n := 0
		for range b.N {
			table.each(func(*libnet.Session) bool { n++; return true })
		}
		if n != b.N*sessions {
			b.Errorf("%d iterations saw %d sessions; want %d each", b.N, n, sessions)
		}
		b.ReportMetric(float64(bytes)/float64(sessions), "B/session")
	})
}

func heapBytes() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

type sessionMap map[uint64]*libnet.Session

func (m sessionMap) appendTo(list []*libnet.Session) []*libnet.Session {
	for _, s := range m {
		list = append(list, s)
	}
	return list
}

type rwShards []struct {
	mu       sync.RWMutex
	sessions sessionMap
}

func (t rwShards) get(id uint64) *libnet.Session {
	s := &t[id%uint64(len(t))]
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.sessions[id]
}

func (t rwShards) add(id uint64, session *libnet.Session) {
	s := &t[id%uint64(len(t))]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions == nil {
		s.sessions = make(sessionMap)
	}
	s.sessions[id] = session
}

func (t rwShards) remove(id uint64) {
	s := &t[id%uint64(len(t))]
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, id)
}

func (t rwShards) each(yield func(*libnet.Session) bool) {
	eachOf(len(t), yield, func(i int, list []*libnet.Session) []*libnet.Session {
		t[i].mu.RLock()
		defer t[i].mu.RUnlock()
		return t[i].sessions.appendTo(list)
	})
}

// eachOf visits the sessions of n shards, one shard's copy after the other.
func eachOf(n int, yield func(*libnet.Session) bool, appendTo func(i int, list []*libnet.Session) []*libnet.Session) {
	var list []*libnet.Session
	for i := range n {
		list = appendTo(i, list[:0])
		for _, s := range list {
			if !yield(s) {
				return
			}
		}
	}
}

type mutexShards []struct {
	mu       sync.Mutex
	sessions sessionMap
}

func (t mutexShards) get(id uint64) *libnet.Session {
	s := &t[id%uint64(len(t))]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[id]
}

func (t mutexShards) add(id uint64, session *libnet.Session) {
	s := &t[id%uint64(len(t))]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions == nil {
		s.sessions = make(sessionMap)
	}
	s.sessions[id] = session
}

func (t mutexShards) remove(id uint64) {
	s := &t[id%uint64(len(t))]
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, id)
}

func (t mutexShards) each(yield func(*libnet.Session) bool) {
	eachOf(len(t), yield, func(i int, list []*libnet.Session) []*libnet.Session {
		t[i].mu.Lock()
		defer t[i].mu.Unlock()
		return t[i].sessions.appendTo(list)
	})
}

type syncMap struct{ m sync.Map }

func (t *syncMap) get(id uint64) *libnet.Session {
	s, _ := t.m.Load(id)
	session, _ := s.(*libnet.Session)
	return session
}

func (t *syncMap) add(id uint64, s *libnet.Session) { t.m.Store(id, s) }
func (t *syncMap) remove(id uint64)                 { t.m.Delete(id) }

func (t *syncMap) each(yield func(*libnet.Session) bool) {
	t.m.Range(func(_, s any) bool { return yield(s.(*libnet.Session)) })
}

// openShards is what Manager does: see manager.go.
type openShards []openShard

type openShard struct {
	mu          sync.Mutex
	slots       atomic.Pointer[[]openSlot]
	taken, live int
}

type openSlot struct {
	id      atomic.Uint64
	session atomic.Pointer[libnet.Session]
}

func (s *openShard) all() []openSlot {
	if slots := s.slots.Load(); slots != nil {
		return *slots
	}
	return nil
}

// find returns id's slot or the free one where its search ends.
func find(slots []openSlot, id uint64) (slot *openSlot, taken bool) {
	for i := id * 0x9e3779b97f4a7c15 >> 20; len(slots) > 0; i++ {
		slot := &slots[i&uint64(len(slots)-1)]
		if at := slot.id.Load(); at == id || at == 0 {
			return slot, at != 0
		}
	}
	return nil, false
}

func (t openShards) get(id uint64) *libnet.Session {
	if slot, ok := find(t[id%uint64(len(t))].all(), id); ok {
		return slot.session.Load()
	}
	return nil
}

func (t openShards) add(id uint64, session *libnet.Session) {
	s := &t[id%uint64(len(t))]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken >= len(s.all())/4*3 {
		s.move(s.all())
	}
	takeOpen(s.all(), id, session)
	s.taken++
	s.live++
}

func takeOpen(slots []openSlot, id uint64, session *libnet.Session) {
	slot, _ := find(slots, id)
	slot.session.Store(session)
	slot.id.Store(id)
}

func (s *openShard) move(old []openSlot) {
	slots := make([]openSlot, max(8, 1<<bits.Len(uint(2*s.live))))
	for i := range old {
		if session := old[i].session.Load(); session != nil {
			takeOpen(slots, old[i].id.Load(), session)
		}
	}
	s.taken = s.live
	s.slots.Store(&slots)
}

func (t openShards) remove(id uint64) {
	s := &t[id%uint64(len(t))]
	s.mu.Lock()
	defer s.mu.Unlock()
	if slot, ok := find(s.all(), id); ok && slot.session.Swap(nil) != nil {
		s.live--
	}
}

func (t openShards) each(yield func(*libnet.Session) bool) {
	for i := range t {
		slots := t[i].all()
		for j := range slots {
			if s := slots[j].session.Load(); s != nil && !yield(s) {
				return
			}
		}
	}
}
