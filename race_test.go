//go:build race

package libnet_test

// The race detector has sync.Pool forget things at random, and allocates for itself.
const raceDetector = true
