//go:build !race && !lockcheck

package libnet_test

const raceDetector = false
