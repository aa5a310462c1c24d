//go:build !race && !lockcheck

package testkit

// Race reports whether this is a build with the race detector, or the check of the lock order.
const Race = false
