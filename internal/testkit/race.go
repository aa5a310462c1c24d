//go:build race || lockcheck

package testkit

// Race reports whether this is a build with the race detector, which has sync.Pool forget things at random and
// allocates for itself, as the check of the lock order does: what is measured is measured without them.
const Race = true
