//go:build !race && !lockcheck

package monitor_test

const raceDetector = false
