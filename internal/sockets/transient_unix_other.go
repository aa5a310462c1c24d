//go:build unix && !linux

package sockets

import "syscall"

func isTransientHere(syscall.Errno) bool { return false }
