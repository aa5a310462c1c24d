//go:build !unix

package sockets

import "syscall"

// Discard does nothing: elsewhere nothing reads a descriptor without waiting.
func Discard(syscall.RawConn) (ended bool) { return true }
