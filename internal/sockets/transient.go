package sockets

import "syscall"

// Transient reports whether accepting again may succeed, after accept(2) has failed so, without anybody's help. Beyond
// what Temporary says these are the errors of the table that is full, of memory, and those that accept(2) passes on
// from the network of the connection that it was about to return.
func Transient(errno syscall.Errno) bool { return errno.Temporary() || isTransient(errno) }
