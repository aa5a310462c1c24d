//go:build race || lockcheck

package libnet_test

// The race detector has sync.Pool forget things at random, and allocates for itself, as the check of the lock
// order does: what is measured is measured without them.
const raceDetector = true
