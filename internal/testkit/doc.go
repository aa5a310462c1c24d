// Package testkit is what the tests of this module share: servers and connections of every kind that a test talks to,
// codecs and messages, and how to wait for what must come.
//
// A test of one server begins with [Serve], or with [Mode.Start] where the handler is called for each message; one of
// sessions without a listener with [NewServer] and [Adopt], over each of [Transports].
package testkit

import "flag"

var full = flag.Bool("full", false, "run the tests of faults at their full size instead of CI's")

// Size is how much of something a test takes: ci, or full if the tests run with -full.
func Size(ci, atFull int) int {
	if *full {
		return atFull
	}
	return ci
}

// Full reports whether the tests run with -full.
func Full() bool { return *full }
