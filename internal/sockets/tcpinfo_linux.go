package sockets

import (
	"syscall"
	"time"
	"unsafe"
)

// RTT is the kernel's smoothed round-trip time to raw's peer (TCP_INFO of tcp(7)); 0 where nobody can tell, as of what
// is no TCP.
func RTT(raw syscall.RawConn) (rtt time.Duration) {
	if raw == nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		var info syscall.TCPInfo
		size := uint32(unsafe.Sizeof(info))
		_, _, errno := syscall.Syscall6(sysGetsockopt, fd, syscall.IPPROTO_TCP, syscall.TCP_INFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		if errno == 0 && uintptr(size) >= unsafe.Offsetof(info.Rtt)+unsafe.Sizeof(info.Rtt) {
			rtt = time.Duration(info.Rtt) * time.Microsecond
		}
	})
	return rtt
}
