//go:build unix && !linux

package libnet_test

import "syscall"

var onlyHere []syscall.Errno
