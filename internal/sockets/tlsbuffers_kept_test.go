//go:build linux && !lendtlsbuffers

package sockets

import (
	"net"
	"testing"
)

// What tlsbuffers_lent_test.go has for the other build.

func TestBuffersAreNotLentUnlessTheBuildSaysSo(t *testing.T) {
	if LendsTLSBuffers() {
		t.Error("they are")
	}
}

func WithoutLending(*testing.T) {}

func InputHeld(net.Conn) int { return 0 }

func Scribble() {}
