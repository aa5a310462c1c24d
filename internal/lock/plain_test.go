//go:build !lockcheck && !schedules

package lock

import "sync"

type class struct{}

// In a normal build the types are those of package sync, so that they cost nothing.
var (
	_ *sync.Mutex   = new(Mutex[class])
	_ *sync.RWMutex = new(RWMutex[class])
)
