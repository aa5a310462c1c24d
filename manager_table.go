package libnet

import (
	"math/bits"
	"sync/atomic"
)

// A sessionTable finds sessions by id. Any goroutine may call get and all at any time, without a lock;
// calls of add and remove take turns.
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
