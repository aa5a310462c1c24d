package sockets

import "syscall"

// ENONET is Linux's own; accept(2) lists it among the network's errors.
func isTransientHere(errno syscall.Errno) bool { return errno == syscall.ENONET }
