//go:build lockcheck || schedules

package lock

// goroutine identifies the caller among the goroutines that live. It is the address of what the runtime keeps
// of one; to have the runtime print a stack takes a thousand times as long, which a suite of tests would feel.
func goroutine() uintptr
