//go:build unix && !linux

package libnet

import "syscall"

func extraPassingErrno(syscall.Errno) bool { return false }
