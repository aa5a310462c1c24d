package faults

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

func TestB34AServerThatWasStoppedKillsNoHealthySession(t *testing.T) {
	t.Parallel()                        // it mostly waits
	const idle = 600 * time.Millisecond // a busy machine keeps the peers from their heartbeats for a part of it
	server := startChild(t, "server", childArgs{Idle: idle, Beat: 100 * time.Millisecond, Queue: 64})
	var address string
	server.answer(&address)
	var conns []net.Conn
	for range 20 {
		conn := server.dial(address)
		conns = append(conns, conn)
		go func() { // heartbeats of its own, and what waits for the server when it wakes
			for {
				if _, err := conn.Write(testkit.Frame("alive")); err != nil {
					return
				}
				time.Sleep(50 * time.Millisecond)
			}
		}()
		go func() { _, _ = io.Copy(io.Discard, conn) }()
	}
	testkit.Eventually(t, "all to be served", func() bool { return server.stats().Open == len(conns) })
	for _, stopped := range []time.Duration{3 * idle, idle + 20*time.Millisecond} {
		server.signal(syscall.SIGSTOP)
		time.Sleep(stopped)
		server.signal(syscall.SIGCONT)
		time.Sleep(idle)
		if stats := server.stats(); stats.Open != len(conns) {
			t.Fatalf("after %v: %d of %d sessions open, closed %v", stopped, stats.Open, len(conns), stats.Closed)
		}
	}
	// The timeouts still work.
	blackHole(t, conns[0])
	testkit.Eventually(t, "a peer that is gone to be noticed", func() bool { return server.stats().Closed["idle_timeout"] == 1 })
}

// What makes up for the time that the server was stopped must not pass for something that the peer has sent.
func TestB34AServerThatWasStoppedStillEndsASilentHandshakeOfTLS(t *testing.T) {
	testkit.Slow(t)
	t.Parallel()                   // it mostly waits
	const bound = 16 * time.Second // of the handshake, from when the server is back
	server := startChild(t, "server", childArgs{TLS: true, Beat: 50 * time.Millisecond})
	var address string
	server.answer(&address)
	silent := server.dial(address)
	testkit.Eventually(t, "the session", func() bool { return server.stats().Open == 1 })
	server.signal(syscall.SIGSTOP)
	time.Sleep(300 * time.Millisecond)
	server.signal(syscall.SIGCONT)
	_ = silent.SetReadDeadline(time.Now().Add(2 * bound)) // a machine that is late gives it another
	if _, err := silent.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the silent client: %v; closed %v", err, server.stats().Closed)
	}
}

func TestB34AServerThatWasStoppedWhileItWroteGoesOn(t *testing.T) {
	t.Parallel() // it mostly waits
	server := startChild(t, "server", childArgs{Write: 400 * time.Millisecond, Queue: 16})
	var address string
	server.answer(&address)
	conn := server.dial(address)
	testkit.Ask(t, conn, "hello")
	var pushed int
	server.ask("push", &pushed)
	time.Sleep(100 * time.Millisecond) // the flush waits for us now
	server.signal(syscall.SIGSTOP)
	received := make(chan int, 1)
	go func() {
		n := 0
		for ; n < pushed; n++ {
			if _, err := testkit.ReadFrame(conn); err != nil {
				break
			}
		}
		received <- n
	}()
	time.Sleep(1200 * time.Millisecond)
	server.signal(syscall.SIGCONT)
	if n := <-received; n != pushed {
		t.Errorf("%d of %d messages: %v", n, pushed, server.stats().Closed)
	}
}

func TestB22APeerWhoseProcessHangsIsFoundByHeartbeats(t *testing.T) {
	t.Parallel() // it mostly waits
	r := testkit.Serve(t, "tcp", func(srv *libnet.Server) {
		srv.SendQueue, srv.IdleTimeout = 8, 1200*time.Millisecond
		srv.Heartbeat = libnet.Heartbeat{Interval: 200 * time.Millisecond, Message: func(*libnet.Session) any { return "beat" }}
	}, testkit.ReceiveToEnd)
	client := startChild(t, "client", childArgs{Address: r.Listener().Addr().String()})
	var connected string
	client.answer(&connected)
	s := <-r.Sessions
	var group libnet.Group[string]
	group.Put("room", s)
	var ends atomic.Int32
	s.OnClose(func() { ends.Add(1) })
	testkit.Eventually(t, "answers, over more than IdleTimeout", func() bool { return s.Stats().MessagesIn >= 8 })
	if s.IsClosed() {
		t.Fatalf("a peer that answers was closed for %v", s.Err())
	}
	client.signal(syscall.SIGSTOP)
	r.WantClosed(s, libnet.ErrIdleTimeout)
	if ends.Load() != 1 || group.Len() != 0 {
		t.Errorf("%d callbacks, %d in the group", ends.Load(), group.Len())
	}
}

func TestB22B23AVanishedPeerIsFoundWithoutHeartbeats(t *testing.T) {
	t.Parallel() // it mostly waits
	const peerTimeout = 3 * time.Second
	r := testkit.Serve(t, "tcp", func(srv *libnet.Server) { srv.SendQueue, srv.PeerTimeout = 8, peerTimeout }, testkit.ReceiveToEnd)
	var wg sync.WaitGroup
	for name, busy := range map[string]bool{"idle": false, "with data in flight": true} {
		conn, s := r.Open()
		askFirst(t, conn, s)
		blackHole(t, conn)
		begin := time.Now()
		if busy {
			if err := s.Send("into the void"); err != nil {
				t.Fatal(err)
			}
		}
		wg.Go(func() {
			r.WantClosed(s, syscall.ETIMEDOUT)
			if took := time.Since(begin); took > 2*peerTimeout {
				t.Errorf("%s: noticed after %v", name, took)
			}
		})
	}
	wg.Wait()
}

// askFirst has one message received, so that the session's goroutine is known to wait for the next.
func askFirst(t *testing.T, conn net.Conn, s *libnet.Session) {
	t.Helper()
	testkit.MustWrite(t, conn, testkit.Frame("hello"))
	testkit.Eventually(t, "the message", func() bool { return s.Stats().MessagesIn == 1 })
}

func TestB23ThePeerTimeoutIsSetOnTheSocket(t *testing.T) {
	const tcpUserTimeout = 18 // linux/tcp.h
	for set, want := range map[time.Duration]int{0: 15_000, 7 * time.Second: 7_000, -1: 0} {
		dialer := libnet.Dialer{Protocol: testkit.Frames64K}
		dialer.PeerTimeout = set
		var raw syscall.RawConn
		dialer.NetDialer.Control = func(_, _ string, c syscall.RawConn) error { raw = c; return nil }
		r := testkit.Serve(t, "tcp", nil, testkit.ReceiveToEnd)
		s, err := dialer.Dial(t.Context(), "tcp", r.Listener().Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		var got int
		if err := raw.Control(func(fd uintptr) {
			got, err = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout)
		}); err != nil {
			t.Fatal(err)
		}
		if err != nil || got != want {
			t.Errorf("PeerTimeout %v: TCP_USER_TIMEOUT is %d ms, %v; want %d", set, got, err, want)
		}
		s.Close()
	}
}

func TestB24APeerThatWasRebootedIsFoundByTheNextWrite(t *testing.T) {
	const tcpRepair = 19 // linux/tcp.h: a socket in repair mode vanishes without a word when it is closed
	r := testkit.Serve(t, "tcp", func(srv *libnet.Server) { srv.SendQueue = 8 }, testkit.ReceiveToEnd)
	conn, s := r.Open()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var optErr error
	if err := raw.Control(func(fd uintptr) {
		optErr = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpRepair, 1)
	}); err != nil {
		t.Fatal(err)
	}
	if errors.Is(optErr, syscall.EPERM) {
		t.Skip("repair mode needs CAP_NET_ADMIN")
	}
	if optErr != nil {
		t.Fatal(optErr)
	}
	conn.Close()
	if err := s.Send("are you there?"); err != nil {
		t.Fatal(err)
	}
	r.WantClosed(s, syscall.ECONNRESET)
	if lines := r.Logs.With("session ended"); len(lines) > 0 {
		t.Errorf("a reset is worth no line above debug: %q", lines)
	}
}

func TestC39AFullDescriptorTableHarmsNoSessionAndPasses(t *testing.T) {
	t.Parallel() // it mostly waits
	server := startChild(t, "server", childArgs{Files: 64, Queue: 8})
	var address string
	server.answer(&address)
	var conns []net.Conn
	for range 100 { // the kernel completes them all
		conns = append(conns, server.dial(address))
	}
	testkit.Eventually(t, "the table to be full", func() bool { return server.stats().AcceptErrors > 0 })
	open := server.stats().Open
	spent := processorTime(t, server)
	begin := time.Now()
	var lines, after int
	server.ask("logs", &lines)
	for time.Since(begin) < 2*time.Second {
		for _, conn := range conns[:open] {
			testkit.Ask(t, conn, "still served")
		}
		time.Sleep(200 * time.Millisecond)
	}
	server.ask("logs", &after)
	if after-lines > 3 {
		t.Errorf("%d lines in 2 s", after-lines)
	}
	t.Logf("%d of %d served with 64 descriptors; %v of processor time in %v", open, len(conns), processorTime(t, server)-spent, time.Since(begin))
	for _, conn := range conns[:open] {
		conn.Close()
	}
	begin = time.Now()
	for _, conn := range conns[open : open+20] {
		_ = conn.SetDeadline(time.Now().Add(soon))
		testkit.Ask(t, conn, "accepted at last")
	}
	if took := time.Since(begin); took > 4*time.Second {
		t.Errorf("descriptors were free for %v before the next was served", took)
	}
}

// processorTime reads utime and stime, which proc(5) gives in hundredths of a second.
func processorTime(t *testing.T, p *process) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ") // the name may hold spaces
	var ticks int
	for _, field := range strings.Fields(rest)[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

func TestC52ADialWithoutAFreePortFailsAtOnce(t *testing.T) {
	const ipLocalPortRange = 51 // linux/in.h, since 6.3: lowest port, and highest << 16
	r := testkit.Serve(t, "tcp", nil, testkit.ReceiveToEnd)
	dialer := libnet.Dialer{Protocol: testkit.Frames64K}
	dialer.NetDialer.Control = func(_, _ string, c syscall.RawConn) (err error) {
		return errors.Join(c.Control(func(fd uintptr) {
			ports := uint32(40_000 | 40_002<<16)
			err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, ipLocalPortRange, int(ports))
		}), err)
	}
	var err error
	begin := time.Now()
	for range 4 {
		var s *libnet.Session
		if s, err = dialer.Dial(t.Context(), "tcp", r.Listener().Addr().String()); err != nil {
			break
		}
		defer s.Close()
	}
	if errors.Is(err, syscall.ENOPROTOOPT) {
		t.Skip("this kernel has no port range per socket")
	}
	if !errors.Is(err, syscall.EADDRNOTAVAIL) || time.Since(begin) > soon/2 {
		t.Errorf("Dial = %v after %v, want EADDRNOTAVAIL at once", err, time.Since(begin))
	}
}
