//go:build lockcheck && !schedules

package lock

import (
	"reflect"
	"sync"
)

// A Mutex is a sync.Mutex whose order among others is checked.
type Mutex[C any] struct{ mu sync.Mutex }

func (m *Mutex[C]) hold() hold { return hold{reflect.TypeFor[C](), m} }

// Lock is that of sync.Mutex.
func (m *Mutex[C]) Lock() {
	id := order.wants(m.hold())
	m.mu.Lock()
	order.took(id, m.hold())
}

// TryLock is that of sync.Mutex. It waits for nobody, so it may be called whatever is held; what is taken
// under it counts.
func (m *Mutex[C]) TryLock() bool {
	if !m.mu.TryLock() {
		return false
	}
	order.took(goroutine(), m.hold())
	return true
}

// Unlock is that of sync.Mutex: any goroutine may call it.
func (m *Mutex[C]) Unlock() {
	order.gave(m.hold())
	m.mu.Unlock()
}

// An RWMutex is a sync.RWMutex whose order among others is checked. Readers count as writers do: one that
// waits for a writer waits for all whom that one waits for.
type RWMutex[C any] struct{ mu sync.RWMutex }

func (m *RWMutex[C]) hold() hold { return hold{reflect.TypeFor[C](), m} }

// Lock is that of sync.RWMutex.
func (m *RWMutex[C]) Lock() {
	id := order.wants(m.hold())
	m.mu.Lock()
	order.took(id, m.hold())
}

// TryLock is that of sync.RWMutex.
func (m *RWMutex[C]) TryLock() bool {
	if !m.mu.TryLock() {
		return false
	}
	order.took(goroutine(), m.hold())
	return true
}

// Unlock is that of sync.RWMutex.
func (m *RWMutex[C]) Unlock() {
	order.gave(m.hold())
	m.mu.Unlock()
}

// RLock is that of sync.RWMutex.
func (m *RWMutex[C]) RLock() {
	id := order.wants(m.hold())
	m.mu.RLock()
	order.tookRead(id, m.hold())
}

// RUnlock is that of sync.RWMutex.
func (m *RWMutex[C]) RUnlock() {
	order.gaveRead(m.hold())
	m.mu.RUnlock()
}
