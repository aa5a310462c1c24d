package faults

import (
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/libnet-go/libnet/internal/testkit"
)

// blackHole makes the kernel drop all that arrives for a socket, as a pulled cable does: its peer
// gets no acknowledgement, no FIN and no RST. It is a BPF program (SO_ATTACH_FILTER, socket(7)) of one
// instruction, which returns that 0 bytes of the packet are to be kept.
func blackHole(tb testing.TB, conn net.Conn) {
	tb.Helper()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		tb.Fatal(err)
	}
	drop := syscall.SockFilter{Code: syscall.BPF_RET | syscall.BPF_K}
	program := syscall.SockFprog{Len: 1, Filter: &drop}
	// Of the calls of package syscall this one passes any bytes, and exists on every architecture.
	bytes := unsafe.String((*byte)(unsafe.Pointer(&program)), unsafe.Sizeof(program))
	var optErr error
	err = raw.Control(func(fd uintptr) {
		optErr = syscall.SetsockoptString(int(fd), syscall.SOL_SOCKET, syscall.SO_ATTACH_FILTER, bytes)
	})
	runtime.KeepAlive(&drop)
	if err != nil || optErr != nil {
		tb.Fatal(err, optErr)
	}
}

func TestE80ShutdownGivesUpOnVanishedPeersInTimeAndLosesNothingElse(t *testing.T) {
	t.Parallel() // it mostly waits
	r := fleetServer(t, "tcp", nil)
	fleet := newFleet(t)
	healthy, vanished := testkit.Size(90, 900), testkit.Size(10, 100)
	fleet.join(r, healthy, false)
	fleet.join(r, vanished, true)
	fleet.fill()
	for _, m := range fleet.members[healthy:] {
		blackHole(t, m.conn)
	}
	fleet.letRead()
	shutdownWithin(t, r, fleet, 2*time.Second, vanished)
	fleet.wantAll()
}
