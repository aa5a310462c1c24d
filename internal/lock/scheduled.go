//go:build schedules

package lock

import (
	"reflect"
	"sync"
)

// Yield, where it is set, is called before a lock is taken and after it was released. It returns when the caller
// may go on, at the earliest when ready returns true. It is set while no goroutine uses a lock.
var Yield func(op, class string, ready func() bool)

// Goroutine identifies the caller among the goroutines that live.
func Goroutine() uintptr { return goroutine() }

// A Mutex is a sync.Mutex that whoever set Yield hands out.
type Mutex[C any] struct{ mu sync.Mutex }

// Lock is that of sync.Mutex.
func (m *Mutex[C]) Lock() { await[C]("lock", m.mu.TryLock, m.mu.Lock, m.mu.Unlock) }

// TryLock is that of sync.Mutex.
func (m *Mutex[C]) TryLock() bool {
	yield[C]("trylock", always)
	return m.mu.TryLock()
}

// Unlock is that of sync.Mutex.
func (m *Mutex[C]) Unlock() {
	m.mu.Unlock()
	yield[C]("unlock", always)
}

// An RWMutex is a sync.RWMutex that whoever set Yield hands out.
type RWMutex[C any] struct{ mu sync.RWMutex }

// Lock is that of sync.RWMutex.
func (m *RWMutex[C]) Lock() { await[C]("lock", m.mu.TryLock, m.mu.Lock, m.mu.Unlock) }

// Unlock is that of sync.RWMutex.
func (m *RWMutex[C]) Unlock() {
	m.mu.Unlock()
	yield[C]("unlock", always)
}

// RLock is that of sync.RWMutex.
func (m *RWMutex[C]) RLock() { await[C]("rlock", m.mu.TryRLock, m.mu.RLock, m.mu.RUnlock) }

// RUnlock is that of sync.RWMutex.
func (m *RWMutex[C]) RUnlock() {
	m.mu.RUnlock()
	yield[C]("runlock", always)
}

func always() bool { return true }

func yield[C any](op string, ready func() bool) {
	if Yield != nil {
		Yield(op, reflect.TypeFor[C]().Name(), ready)
	}
}

// await takes a lock once Yield lets it.
func await[C any](op string, try func() bool, lock, unlock func()) {
	if Yield == nil {
		lock()
		return
	}
	free := func() bool {
		ok := try()
		if ok {
			unlock()
		}
		return ok
	}
	yield[C](op, free)
	for !try() {
		yield[C](op, free)
	}
}
