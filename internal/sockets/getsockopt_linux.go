//go:build !386

package sockets

import "syscall"

const sysGetsockopt = syscall.SYS_GETSOCKOPT
