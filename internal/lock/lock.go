// Package lock has the mutexes of this module. Each names its class, an empty struct type that stands for all
// locks which do the same work in different places:
//
//	mu lock.Mutex[sessionLock]
//
// In a normal build they are those of package sync, by another name, and the class is not there. Built with the
// tag lockcheck they watch the order in which classes are taken, and end the process at the first lock that is
// taken in an order which, met by another goroutine at another time, could have been a deadlock. docs/locks.md
// has the classes and their order. Built with the tag schedules they are yield points, for
// internal/tests/schedules.
package lock
