//go:build !race

package libnet_test

const raceDetector = false
