package libnet_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/libnettest"
)

// eventTagged is a message of a connection with this tag, which the first message of a session sets.
func eventTagged(tag uint64, size int) []byte {
	msg := binary.BigEndian.AppendUint64(nil, tag)
	for range size {
		msg = append(msg, byte(tag))
	}
	return msg
}

func eventHasTag(msg []byte, tag uint64) bool {
	if len(msg) < 8 || binary.BigEndian.Uint64(msg) != tag {
		return false
	}
	for _, b := range msg[8:] {
		if b != byte(tag) {
			return false
		}
	}
	return true
}

// Both sides close at any time, and the lowest free descriptor is the next connection's: an event, a read or
// a write that outlived its connection would show in another.
func TestNoByteOfAConnectionShowsUpInAnotherThatGotItsDescriptor(t *testing.T) {
	overEventModes(t, eventLoops, func(t *testing.T, mode eventMode) {
		const clients, rounds = 8, 40
		var served atomic.Int64
		r := mode.start(t, func(srv *libnet.Server) { srv.SendBuffer = 8 << 10 }, func(s *libnet.Session, msg []byte) {
			if s.State == nil {
				s.State = binary.BigEndian.Uint64(msg)
			}
			tag := s.State.(uint64)
			if !eventHasTag(msg, tag) {
				t.Errorf("session %d of tag %x got %.32x", s.ID(), tag, msg)
			}
			served.Add(1)
			switch n := rand.IntN(40); {
			case n == 0:
				_ = s.Close()
			case n == 1:
				go s.Close()
			case n == 2: // more than the kernel takes: a waiting write is under way when the end comes
				for range 8 {
					_ = s.Send(eventTagged(tag, 30_000))
				}
			}
			go s.Send(bytes.Clone(msg)) // from elsewhere, perhaps after the end
			_ = s.Send(msg)
		})
		var tags atomic.Uint64
		var wg sync.WaitGroup
		for range clients {
			wg.Go(func() {
				for range rounds {
					eventExchange(t, r, tags.Add(1)*0x0101)
				}
			})
		}
		wg.Wait()
		if served.Load() < clients*rounds {
			t.Errorf("only %d messages were served", served.Load())
		}
	})
}

// eventExchange is one connection's life: it ends when the server ends it, or in one of a client's ways.
func eventExchange(t *testing.T, r *eventRig, tag uint64) {
	l := r.Listener().Addr()
	conn, err := net.Dial(l.Network(), l.String())
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	for range 1 + rand.IntN(10) {
		msg := eventTagged(tag, rand.IntN(300))
		if _, err := conn.Write(frame(string(msg))); err != nil {
			return
		}
		got, err := eventRead(conn)
		if err != nil {
			return
		}
		if !eventHasTag(got, tag) {
			t.Errorf("connection %x got %.32x", tag, got)
		}
	}
	if tcp, ok := conn.(*net.TCPConn); ok && rand.IntN(2) == 0 {
		_ = tcp.SetLinger(0) // a reset
	}
}

func TestAReconnectingFleetLeavesNoDescriptor(t *testing.T) {
	overEventModes(t, eventLoops, func(t *testing.T, mode eventMode) {
		r := mode.start(t, nil, eventEcho)
		eventAsk(t, r.dial(), "so that what is made once exists")
		before := eventDescriptors(t)
		for range 500 {
			l := r.Listener().Addr()
			conn, err := net.Dial(l.Network(), l.String())
			if err != nil {
				t.Fatal(err)
			}
			eventAsk(t, conn, "x")
			_ = conn.Close()
		}
		eventually(t, "the closing of 500 descriptors", func() bool { return eventDescriptors(t) <= before })
	})
}

func eventDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(entries)
}

func TestASessionOfServeMessagesHasOneDescriptor(t *testing.T) {
	overEventModes(t, eventModes[1:], func(t *testing.T, mode eventMode) {
		if mode.network == "pipe" {
			t.Skip("no descriptors at all")
		}
		const sessions = 20
		r := mode.start(t, nil, eventEcho)
		eventAsk(t, r.dial(), "so that what is made once exists")
		before := eventDescriptors(t)
		for _, conn := range r.dialMany(sessions) {
			eventAsk(t, conn, "x")
		}
		eventually(t, "one descriptor here and one at the peer", func() bool {
			return eventDescriptors(t)-before <= 2*sessions
		})
	})
}

// A shutdown waits for each peer's end; for that, too, a session's one descriptor must do.
func TestAShutdownLosesNothingWhereDescriptorsAreShort(t *testing.T) {
	overEventModes(t, eventModes[:2], func(t *testing.T, mode eventMode) {
		const size = 500_000 // more than the kernel's buffers hold
		r := mode.start(t, nil, func(s *libnet.Session, msg []byte) {
			if string(msg) == "x" {
				_ = s.Send(msg)
			}
		})
		conns := r.dialMany(50)
		for _, conn := range conns {
			eventAsk(t, conn, "x")
		}
		eventLimitDescriptors(t, eventDescriptors(t)+10)
		for s := range r.Manager().All() {
			mustSend(t, s, make([]byte, size))
		}
		down := make(chan error, 1)
		go func() { down <- r.Shutdown(timeoutContext(t, patience)) }()
		var wg sync.WaitGroup
		for _, conn := range conns {
			wg.Go(func() {
				_, _ = conn.Write(frame("unread, it would make the kernel reset the connection"))
				if all, err := io.ReadAll(conn); err != nil || len(all) != 4+size {
					t.Errorf("the peer got %d bytes, %v", len(all), err)
				}
				_ = conn.Close()
			})
		}
		wg.Wait()
		wantErr(t, "Shutdown", await(t, patience, "Shutdown", down), nil)
	})
}

func eventLimitDescriptors(t *testing.T, n int) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	few := limit
	few.Cur = uint64(n)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit) })
}

// eventTakenOver returns event mode's conn and its peer.
func eventTakenOver(t *testing.T) (conn, peer net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn = libnet.TakeOver(accepted, libnet.NewServer(l, frames, 0))
	if _, is := conn.(*net.TCPConn); is {
		t.Fatal("the socket was not taken over")
	}
	return closeWithTest(t, conn, peer)
}

func TestTheConnOfEventModeIsANetConn(t *testing.T) {
	libnettest.VerifyNone(t)
	conn, peer := eventTakenOver(t)
	if conn.RemoteAddr().String() != peer.LocalAddr().String() || conn.LocalAddr().String() != peer.RemoteAddr().String() {
		t.Errorf("addresses %v, %v; the peer's are %v, %v", conn.LocalAddr(), conn.RemoteAddr(), peer.LocalAddr(), peer.RemoteAddr())
	}
	mustWrite(t, conn, frame("to the peer"))
	eventWant(t, peer, "to the peer")
	mustWrite(t, peer, frame("from the peer"))
	eventWant(t, conn, "from the peer")

	_ = conn.SetReadDeadline(time.Now().Add(-time.Second))
	_, err := conn.Read(make([]byte, 1))
	wantErr(t, "a read past its deadline", err, os.ErrDeadlineExceeded)
	_ = conn.SetDeadline(time.Time{})

	eventCloseWrite(t, conn)
	if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("behind a half-close the peer reads %v", err)
	}
	ended := make(chan error)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		ended <- err
	}()
	if err := conn.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	wantErr(t, "the read that waited", await(t, patience, "the read", ended), net.ErrClosed)
	wantErr(t, "the second Close", conn.Close(), net.ErrClosed)
	_, err = conn.Write([]byte("x"))
	wantErr(t, "a write after Close", err, net.ErrClosed)
	wantErr(t, "a deadline after Close", conn.SetDeadline(time.Now()), net.ErrClosed)
	wantErr(t, "CloseWrite after Close", conn.(interface{ CloseWrite() error }).CloseWrite(), net.ErrClosed)
	_ = conn.LocalAddr()
}

func TestADescriptorInUseIsNotClosed(t *testing.T) {
	conn, peer := eventTakenOver(t)
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		if err := conn.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		_, _ = eventPeek(fd)
	}); err != nil {
		t.Errorf("Control = %v", err)
	}
	if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("behind the last use the peer reads %v; want io.EOF", err)
	}
}

func TestTheConnOfEventModeMayBeClosedAtAnyTime(t *testing.T) {
	libnettest.VerifyNone(t)
	for range faultSize(150, 5000) {
		conn, peer := eventTakenOver(t)
		raw, err := conn.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		mustWrite(t, peer, []byte("some input"))
		var wg sync.WaitGroup
		for _, use := range []func() error{
			func() error { _, err := conn.Read(make([]byte, 4)); return err },
			func() error { _, err := conn.Write([]byte("output")); return err },
			func() error { return conn.SetDeadline(time.Now().Add(patience)) },
			func() error { return raw.Read(func(fd uintptr) bool { _, err := eventPeek(fd); return err == nil }) },
			func() error { return raw.Control(func(fd uintptr) { _, _ = eventPeek(fd) }) },
			func() error { return conn.(interface{ CloseWrite() error }).CloseWrite() },
		} {
			wg.Go(func() {
				for range 3 {
					err := use()
					if err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, syscall.EPIPE) {
						t.Errorf("%v", err)
					}
				}
			})
		}
		for range 2 {
			wg.Go(func() {
				for range rand.IntN(50) {
					runtime.Gosched()
				}
				_ = conn.Close()
			})
		}
		wg.Wait()
		_ = peer.Close()
	}
}

// eventPeek would fail with EBADF, or see another's input, if fd were not the conn's any more.
func eventPeek(fd uintptr) (int, error) {
	n, _, err := syscall.Recvfrom(int(fd), make([]byte, 16), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	if err == syscall.EBADF || err == syscall.ENOTSOCK {
		panic(err)
	}
	return n, err
}

func TestAnEchoInEventModeAllocatesNothing(t *testing.T) {
	boxes := sync.Pool{New: func() any { return new([]byte) }}
	echo := func(s *libnet.Session, msg []byte) {
		box := boxes.Get().(*[]byte) // to put a slice into Send's any would allocate
		*box = msg
		_ = s.Send(box)
		*box = nil
		boxes.Put(box)
	}
	overEventModes(t, eventLoops, func(t *testing.T, mode eventMode) {
		for _, queue := range []int{0, 64} {
			r := mode.start(t, func(srv *libnet.Server) { srv.SendQueue = queue }, echo)
			steady(t, "an echo in event mode", 0, request(t, r.dial()))
		}
	})
}

func TestAPartialFrameKeepsLittleMoreThanItsOwnBytes(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector needs memory of its own")
	}
	const sessions = 1000
	r := eventLoops[0].start(t, func(srv *libnet.Server) { srv.FrameTimeout = -1 }, eventEcho)
	conns := make([]net.Conn, sessions)
	for i := range conns {
		conns[i], _ = r.open()
		eventAsk(t, conns[i], "x") // makes everything that is not the frame's
	}
	var silent, partial runtime.MemStats
	faultReadMemory(&silent)
	for _, conn := range conns {
		mustWrite(t, conn, frame("one byte of this")[:1])
	}
	eventually(t, "the bytes", func() bool { return r.Stats().BytesIn == sessions*6 })
	faultReadMemory(&partial)
	if each := int64(partial.HeapAlloc-silent.HeapAlloc) / sessions; each > 700 {
		t.Errorf("a byte of a frame keeps %d bytes", each)
	}
	for _, conn := range conns {
		mustWrite(t, conn, frame("one byte of this")[1:])
		eventWant(t, conn, "one byte of this")
	}
	faultReadMemory(&partial)
	if each := (int64(partial.HeapAlloc) - int64(silent.HeapAlloc)) / sessions; each > 100 {
		t.Errorf("after it %d bytes stay", each)
	}
}

// When event mode's conn becomes one of package net, that sets the socket's keepalive anew. What the session has set, and
// has changed since, stays.
func TestTheConnOfEventModeKeepsItsSocketOptions(t *testing.T) {
	const userTimeout = 18 // TCP_USER_TIMEOUT of linux/tcp.h
	conn, _ := eventTakenOver(t)
	set := conn.(syscall.Conn)
	raw, err := set.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, userTimeout, 4321) })
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(time.Hour)); err != nil { // which only package net's can
		t.Fatal(err)
	}
	idle := socketOption(t, set, syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE)
	probes := socketOption(t, set, syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT)
	if timeout := socketOption(t, set, syscall.IPPROTO_TCP, userTimeout); idle != 5 || probes != 2 || timeout != 4321 {
		t.Errorf("a probe after %d s, %d of them, and %d ms; want 5, 2 and 4321", idle, probes, timeout)
	}
}
