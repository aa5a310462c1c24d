//go:build !386

package eventmode

import (
	"net"
	"syscall"
	"testing"
	"unsafe"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

// segmentsIn is how many segments with data a TCP conn has received: on loopback, each small write of the other side is one.
// Package syscall has no getsockopt on 386.
func segmentsIn(t *testing.T, conn net.Conn) int {
	const dataSegmentsIn = 152 // in struct tcp_info of linux/tcp.h
	var info [192]byte
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	size := uint32(len(info))
	var errno syscall.Errno
	err = raw.Control(func(fd uintptr) {
		_, _, errno = syscall.Syscall6(syscall.SYS_GETSOCKOPT, fd, syscall.IPPROTO_TCP, syscall.TCP_INFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	})
	if err != nil || errno != 0 || size < dataSegmentsIn+4 {
		t.Skip("this kernel does not count segments", err, errno, size)
	}
	return int(*(*uint32)(unsafe.Pointer(&info[dataSegmentsIn])))
}

// What a handler makes of messages that arrived together leaves together: on real sockets, where the processor may be another's for
// a while, mostly.
func TestABurstOfBroadcastsTakesOneWriteAMember(t *testing.T) {
	testkit.OverModes(t, testkit.Modes[:2], func(t *testing.T, mode testkit.Mode) {
		const members, burst, rounds = 100, 32, 15
		var r *testkit.Rig
		ready := make(chan struct{})
		r = mode.Start(t, func(srv *libnet.Server) { srv.SendQueue = 4 * burst }, func(s *libnet.Session, msg []byte) {
			<-ready
			if string(msg) == "hello" {
				_ = s.Send(msg)
				return
			}
			r.Manager().BroadcastExcept(msg, s)
		})
		close(ready)
		sender := r.Dial()
		var far []net.Conn
		for range members {
			far = append(far, r.Dial())
		}
		for _, conn := range append(far, sender) {
			testkit.Ask(t, conn, "hello")
		}
		var chunk []byte
		for range burst {
			chunk = append(chunk, testkit.Frame("to all")...)
		}
		before := 0
		for _, conn := range far {
			before += segmentsIn(t, conn)
		}
		for range rounds {
			testkit.MustWrite(t, sender, chunk)
			for _, conn := range far {
				for range burst {
					testkit.WantFrame(t, conn, "to all")
				}
			}
		}
		writes := -before
		for _, conn := range far {
			writes += segmentsIn(t, conn)
		}
		t.Logf("%.2f writes a member and burst", float64(writes)/(members*rounds))
		if writes > members*rounds*3/2 && !testkit.Race { // with which a burst takes longer than its messages may wait
			t.Errorf("%d writes for %d bursts to %d members", writes, rounds, members)
		}
	})
}
