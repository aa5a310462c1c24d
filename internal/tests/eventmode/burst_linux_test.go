//go:build !386

package eventmode

import (
	"bytes"
	"net"
	"syscall"
	"testing"
	"unsafe"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

// segmentsIn is how many segments with data a TCP conn has received: on loopback, each small write of the other side is
// one. Package syscall has no getsockopt on 386.
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

// What a handler makes of messages that arrived together leaves together: on real sockets, where the processor may be
// another's for a while, mostly.
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

// Nobody writes to a member whose flush waits for this side: what the kernel takes of it makes room for the next.
// Without that three of four messages of a burst are refused, whether the members read or not.
func TestABroadcastWritesWhatTheKernelTakesBeforeItRefuses(t *testing.T) {
	const burst, members, queue = 2000, 5, 16
	for name, serve := range map[string]func(*libnet.Server, libnet.MessageHandler) error{
		"ServeMessages": (*libnet.Server).ServeMessages,
		"Serve":         testkit.ReceiveLoop,
	} {
		t.Run(name, func(t *testing.T) {
			var room libnet.Group[uint64]
			srv := libnet.NewServer(testkit.Listen(t, "tcp"), testkit.Frames, queue)
			srv.Logger = testkit.Quiet
			srv.OnSession = func(s *libnet.Session) error { room.Put(s.ID(), s); return nil }
			t.Cleanup(srv.Stop)
			handled, sent := 0, 0
			over := make(chan int, 1)
			go serve(srv, libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) {
				sent += room.BroadcastExcept(msg, s).Sent
				if handled++; handled%burst == 0 {
					over <- sent
					sent = 0
				}
			}))
			var sender net.Conn
			for range members + 1 {
				conn, err := net.Dial("tcp", srv.Listener().Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = conn.Close() })
				sender = conn
			}
			testkit.Eventually(t, "the members", func() bool { return room.Len() == members+1 })
			best := 0
			for range 5 { // whoever loses the processor in the middle of a write has a member's messages refused
				testkit.MustWrite(t, sender, bytes.Repeat(testkit.Frame("hello"), burst))
				best = max(best, testkit.Await(t, testkit.Patience, "the burst", over))
			}
			if want := burst * members * 9 / 10; best < want {
				t.Errorf("of %d messages %d were sent, at best; want %d", burst*members, best, want)
			}
		})
	}
}
