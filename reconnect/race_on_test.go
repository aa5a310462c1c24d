//go:build race

package reconnect_test

const underRace = true
