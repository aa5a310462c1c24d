package sockets_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet/internal/sockets"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// detached returns a detached conn and its peer.
func detached(t *testing.T) (conn, peer net.Conn) {
	t.Helper()
	accepted, peer := testkit.ConnectTCP(t)
	conn = sockets.Detach(accepted, accepted.LocalAddr)
	if !sockets.IsDetached(conn) {
		t.Fatal("the conn was not detached")
	}
	return testkit.CloseWithTest(t, conn, peer)
}

func TestADetachedConnIsANetConn(t *testing.T) {
	libnettest.VerifyNone(t)
	conn, peer := detached(t)
	if conn.RemoteAddr().String() != peer.LocalAddr().String() || conn.LocalAddr().String() != peer.RemoteAddr().String() {
		t.Errorf("addresses %v, %v; the peer's are %v, %v", conn.LocalAddr(), conn.RemoteAddr(), peer.LocalAddr(), peer.RemoteAddr())
	}
	testkit.MustWrite(t, conn, testkit.Frame("to the peer"))
	testkit.WantFrame(t, peer, "to the peer")
	testkit.MustWrite(t, peer, testkit.Frame("from the peer"))
	testkit.WantFrame(t, conn, "from the peer")

	_ = conn.SetReadDeadline(time.Now().Add(-time.Second))
	_, err := conn.Read(make([]byte, 1))
	testkit.WantErr(t, "a read past its deadline", err, os.ErrDeadlineExceeded)
	_ = conn.SetDeadline(time.Time{})

	testkit.CloseWrite(t, conn)
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
	testkit.WantErr(t, "the read that waited", testkit.Await(t, testkit.Patience, "the read", ended), net.ErrClosed)
	testkit.WantErr(t, "the second Close", conn.Close(), net.ErrClosed)
	_, err = conn.Write([]byte("x"))
	testkit.WantErr(t, "a write after Close", err, net.ErrClosed)
	testkit.WantErr(t, "a deadline after Close", conn.SetDeadline(time.Now()), net.ErrClosed)
	testkit.WantErr(t, "CloseWrite after Close", conn.(interface{ CloseWrite() error }).CloseWrite(), net.ErrClosed)
	_ = conn.LocalAddr()
}

func TestADescriptorInUseIsNotClosed(t *testing.T) {
	conn, peer := detached(t)
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		if err := conn.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		_, _ = peek(fd)
	}); err != nil {
		t.Errorf("Control = %v", err)
	}
	if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("behind the last use the peer reads %v; want io.EOF", err)
	}
}

func TestADetachedConnMayBeClosedAtAnyTime(t *testing.T) {
	libnettest.VerifyNone(t)
	for range 150 {
		conn, peer := detached(t)
		raw, err := conn.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		testkit.MustWrite(t, peer, []byte("some input"))
		var wg sync.WaitGroup
		for _, use := range []func() error{
			func() error { _, err := conn.Read(make([]byte, 4)); return err },
			func() error { _, err := conn.Write([]byte("output")); return err },
			func() error { return conn.SetDeadline(time.Now().Add(testkit.Patience)) },
			func() error { return raw.Read(func(fd uintptr) bool { _, err := peek(fd); return err == nil }) },
			func() error { return raw.Control(func(fd uintptr) { _, _ = peek(fd) }) },
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

// peek would fail with EBADF, or see another's input, if fd were not the conn's any more.
func peek(fd uintptr) (int, error) {
	n, _, err := syscall.Recvfrom(int(fd), make([]byte, 16), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	if err == syscall.EBADF || err == syscall.ENOTSOCK {
		panic(err)
	}
	return n, err
}

// What its owner has set, and has changed since, stays when the descriptor gets another owner: package net's conns
// would set the socket's keepalive anew.
func TestADetachedConnKeepsItsSocketOptions(t *testing.T) {
	const userTimeout = 18 // TCP_USER_TIMEOUT of linux/tcp.h
	conn, _ := detached(t)
	if err := (sockets.Options{PeerTimeout: 15 * time.Second}).Set(conn); err != nil {
		t.Fatal(err)
	}
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
	idle := testkit.SocketOption(t, set, syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE)
	probes := testkit.SocketOption(t, set, syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT)
	if timeout := testkit.SocketOption(t, set, syscall.IPPROTO_TCP, userTimeout); idle != 5 || probes != 2 || timeout != 4321 {
		t.Errorf("a probe after %d s, %d of them, and %d ms; want 5, 2 and 4321", idle, probes, timeout)
	}
}
