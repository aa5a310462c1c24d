//go:build unix && race

package sockets

import (
	"runtime"
	"syscall"
	"unsafe"
)

// The race detector does not see receiveNow and sendNow. Calls of package syscall that move no byte tell it what those
// of package net would: what was done before a message was sent has happened when it is received.

func raceReceive(fd int, p []byte) {
	if len(p) > 0 {
		runtime.RaceWriteRange(unsafe.Pointer(&p[0]), len(p))
	}
	_, _ = syscall.Read(fd, nil)
}

// RaceSend tells the race detector of a write that package net does not tell it of, net.Buffers.WriteTo.
func RaceSend() { raceSend(nil) }

func raceSend(p []byte) {
	_, _ = syscall.Write(-1, nil)
	if len(p) > 0 {
		runtime.RaceReadRange(unsafe.Pointer(&p[0]), len(p))
	}
}
