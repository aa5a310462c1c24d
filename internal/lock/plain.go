//go:build !lockcheck && !schedules

package lock

import "sync"

// A Mutex is a sync.Mutex.
type Mutex[C any] = sync.Mutex

// An RWMutex is a sync.RWMutex.
type RWMutex[C any] = sync.RWMutex
