//go:build unix && !solaris && !illumos && !aix

package sockets

import (
	"os"
	"syscall"
)

const canLock = true

// tryLock takes a lock that the closing of f gives back.
func tryLock(f *os.File) bool {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}
