//go:build linux

package handover

// SetStep has f called by Take at each step, with a number where it comes several times.
func SetStep(f func(name string, n int)) { step = f }
