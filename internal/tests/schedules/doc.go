// Package schedules runs the real code of a session under every schedule that a few goroutines can meet:
//
//	go test -tags schedules -v ./internal/tests/schedules
//
// A scenario has up to three actors that call a session: Send, SendContext, Broadcast, Receive, Close, Shutdown.
// They run in a bubble of testing/synctest, over a connection in memory. Built with the tag schedules, a
// lock of package lock is a yield point, and so is a call of the connection: each goroutine that comes to one,
// the library's own included, stops there, and a scheduler lets one at a time go on. Where all wait for
// something else, time passes.
//
// The scheduler's choices are enumerated, depth first, each run from the start. A choice that takes the turn
// from a goroutine which could go on is a preemption: schedules without one come first, then those with one,
// and so on up to the scenario's bound, all of them. Most faults need one or two. Behind them come runs with
// seeded random choices, in which the release of a lock is a yield point, too. With -v each scenario says how
// many schedules there were; -deeper 1 allows one preemption more, which takes minutes.
//
// After each run the counters must be exact, the bytes on the wire whole frames in each sender's order, all
// calls back within their bounds, and no goroutine left. A run that fails prints its schedule, which
//
//	go test -tags schedules ./internal/tests/schedules -run TestName -replay 'coarse 3:1 17:2'
//
// runs again, with a line for each step.
//
// What this misses: between two yield points a goroutine's steps are one. Atomics are no yield points, nor are
// channels; so orders of two atomic accesses are only seen as far as a lock or a call of the connection lies
// between them, and what the hardware may reorder is not seen at all. A connection here has no
// descriptor: the paths of sockets and of event mode are not taken. Time passes only when nobody can
// go on: a goroutine that is late for a timer is not seen, unless an actor sleeps.
package schedules
