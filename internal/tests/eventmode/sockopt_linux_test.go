package eventmode

import (
	"bytes"
	"crypto/tls"
	"io"
	"log/slog"
	"maps"
	"math"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

// aConn is a conn to embed where the type has a method of its own that leads to another.
type aConn interface{ net.Conn }

func TestAWrappedConnGetsItsSocketOptions(t *testing.T) {
	wraps := maps.Clone(testkit.Wraps)
	wrapped := wraps["a value that embeds net.Conn"]
	wraps["TLS"] = func(c *net.TCPConn) net.Conn { return tls.Server(wrapped(c), testkit.ServerTLS()) }
	for name, wrap := range wraps {
		t.Run(name, func(t *testing.T) {
			near, far := testkit.ConnectTCP(t)
			srv := testkit.NewServer(t, testkit.Frames, 0)
			srv.PeerTimeout, srv.SendBuffer, srv.ReceiveBuffer = 90*time.Second, 20_000, 30_000
			testkit.Adopt(t, srv, wrap(near.(*net.TCPConn)))
			dialer := libnet.Dialer{Config: srv.Config, Protocol: testkit.Frames}
			s, err := dialer.NewSession(wrap(far.(*net.TCPConn)))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			for _, conn := range []net.Conn{near, far} {
				idle := testkit.SocketOption(t, conn.(*net.TCPConn), syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE)
				size := testkit.SocketOption(t, conn.(*net.TCPConn), syscall.SOL_SOCKET, syscall.SO_SNDBUF)
				receive := testkit.SocketOption(t, conn.(*net.TCPConn), syscall.SOL_SOCKET, syscall.SO_RCVBUF)
				if idle != 30 || size != 40_000 || receive != 60_000 {
					t.Errorf("a probe after %d s and buffers of %d and %d; want 30 s, twice 20,000 and twice 30,000", idle, size, receive)
				}
			}
		})
	}
}

// The kernel has bounds; beyond them it would refuse the option.
func TestSocketOptionsEndWhereTheKernelDoes(t *testing.T) {
	const userTimeout = 18 // TCP_USER_TIMEOUT of linux/tcp.h
	testkit.OverModes(t, testkit.Modes[:2], func(t *testing.T, mode testkit.Mode) {
		for _, test := range []struct {
			timeout    time.Duration
			idle, user int // seconds and milliseconds
		}{
			{1, 1, 1000},
			{1500 * time.Millisecond, 1, 1000},
			{27*time.Hour + 18*time.Minute, 32760, 98_280_000},
			{28 * time.Hour, 32767, 100_800_000},
			{math.MaxInt32 * time.Millisecond, 32767, 2147483000},
			{25 * 24 * time.Hour, 32767, math.MaxInt32},
			{math.MaxInt64, 32767, math.MaxInt32},
		} {
			for _, buffer := range []int{1, math.MaxInt32, min(math.MaxInt, math.MaxInt32+1), min(math.MaxInt, 1<<32), math.MaxInt} {
				accepted := make(chan *os.File, 1)
				mode.Wrap = func(l net.Listener) net.Listener { return &dupListener{l, accepted} }
				logs := new(lockedBuffer)
				r := mode.Start(t, func(srv *libnet.Server) {
					srv.PeerTimeout, srv.SendBuffer, srv.ReceiveBuffer, srv.Logger = test.timeout, buffer, buffer, slog.New(slog.NewTextHandler(logs, nil))
				}, testkit.EchoMessage)
				testkit.Ask(t, r.Dial(), "works")
				file := <-accepted
				idle := testkit.SocketOption(t, file, syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE)
				user := testkit.SocketOption(t, file, syscall.IPPROTO_TCP, userTimeout)
				size := testkit.SocketOption(t, file, syscall.SOL_SOCKET, syscall.SO_SNDBUF)
				_ = file.Close()
				if idle != test.idle || user != test.user || buffer > 1 && size < 100_000 {
					t.Errorf("%v: %d s and %d ms; want %d and %d; a buffer of %d for %d", test.timeout, idle, user, test.idle, test.user, size, buffer)
				}
				if logged := logs.String(); logged != "" {
					t.Errorf("%v, %d: logged %s", test.timeout, buffer, logged)
				}
			}
		}
	})
}

// lockedBuffer is what several goroutines log to.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// rawConnFuncs is a descriptor that answers as a test has it.
type rawConnFuncs struct{ control func(func(uintptr)) error }

func (r rawConnFuncs) Control(f func(uintptr)) error  { return r.control(f) }
func (r rawConnFuncs) Read(func(uintptr) bool) error  { panic("Read") }
func (r rawConnFuncs) Write(func(uintptr) bool) error { panic("Write") }

// oddConn asks the test where its socket is.
type oddConn struct {
	aConn
	syscallConn func() (syscall.RawConn, error)
}

func (c *oddConn) SyscallConn() (syscall.RawConn, error) { return c.syscallConn() }

// oddLayer is the same with NetConn.
type oddLayer struct {
	aConn
	netConn func() net.Conn
}

func (c *oddLayer) NetConn() net.Conn { return c.netConn() }

// Whatever a conn of the user's answers when it is asked for its socket, it becomes a session, and what could not be
// set is told.
func TestAConnWithoutAUsableSocketBecomesASessionAllTheSame(t *testing.T) {
	control := func(f func(func(uintptr)) error) func(net.Conn) net.Conn {
		return func(c net.Conn) net.Conn {
			return &oddConn{c, func() (syscall.RawConn, error) { return rawConnFuncs{f}, nil }}
		}
	}
	for name, test := range map[string]struct {
		wrap   func(net.Conn) net.Conn
		logged string // a part of the line; "" for none
	}{
		"SyscallConn panics":      {func(c net.Conn) net.Conn { return &oddConn{c, func() (syscall.RawConn, error) { panic("no") }} }, ""},
		"SyscallConn fails":       {func(c net.Conn) net.Conn { return &oddConn{c, func() (syscall.RawConn, error) { return nil, io.EOF }} }, ""},
		"SyscallConn returns nil": {func(c net.Conn) net.Conn { return &oddConn{c, func() (syscall.RawConn, error) { return nil, nil }} }, ""},
		"a typed nil RawConn": {func(c net.Conn) net.Conn {
			return &oddConn{c, func() (syscall.RawConn, error) { return (*rawConnFuncs)(nil), nil }}
		}, "panic"},
		"Control panics":            {control(func(func(uintptr)) error { panic("no") }), "panic"},
		"Control fails":             {control(func(func(uintptr)) error { return net.ErrClosed }), "closed"},
		"Control calls nothing":     {control(func(func(uintptr)) error { return nil }), ""},
		"a descriptor that is none": {control(func(f func(uintptr)) error { f(1 << 20); return nil }), "bad file descriptor"},
		"NetConn panics":            {func(c net.Conn) net.Conn { return &oddLayer{c, func() net.Conn { panic("no") }} }, ""},
		"NetConn returns nil":       {func(c net.Conn) net.Conn { return &oddLayer{c, func() net.Conn { return nil }} }, ""},
		"NetConn returns typed nil": {func(c net.Conn) net.Conn { return &oddLayer{c, func() net.Conn { return (*net.TCPConn)(nil) }} }, ""},
		"it wraps itself": {func(c net.Conn) net.Conn {
			odd := &oddLayer{aConn: c}
			odd.netConn = func() net.Conn { return odd }
			return odd
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			near, far := testkit.ConnectPipe(t)
			logs := new(lockedBuffer)
			srv := testkit.NewServer(t, testkit.Frames, 10)
			srv.Logger = slog.New(slog.NewTextHandler(logs, nil))
			s := testkit.Adopt(t, srv, test.wrap(near))
			testkit.MustWrite(t, far, testkit.Frame("works"))
			testkit.MustReceive(t, s, "works")
			testkit.MustSend(t, s, []byte("both ways"))
			testkit.WantFrame(t, far, "both ways")
			if logged := logs.String(); !strings.Contains(logged, test.logged) || test.logged == "" && logged != "" {
				t.Errorf("logged %q; want %q", logged, test.logged)
			}
			dialer := libnet.Dialer{Protocol: testkit.Frames, Config: libnet.Config{Logger: testkit.Quiet}}
			near, _ = testkit.ConnectPipe(t)
			c, err := dialer.NewSession(test.wrap(near))
			if err != nil {
				t.Fatal(err)
			}
			_ = c.Close()
		})
	}
}
