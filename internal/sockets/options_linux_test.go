package sockets_test

import (
	"crypto/tls"
	"math"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet/internal/sockets"
	"github.com/libnet-go/libnet/internal/testkit"
)

// socketOption reads an option of the socket in conn.
func socketOption(t *testing.T, conn syscall.Conn, level, option int) (value int) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if ctlErr := raw.Control(func(fd uintptr) { value, err = syscall.GetsockoptInt(int(fd), level, option) }); ctlErr != nil {
		t.Fatal(ctlErr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// Ways to wrap a conn that lead to its socket.
type (
	aConn interface{ net.Conn }

	embedsInterface struct{ net.Conn }
	embedsTCPConn   struct{ *net.TCPConn }
	hasNetConn      struct{ aConn }
	hasSyscallConn  struct {
		aConn
		socket syscall.Conn
	}
)

func (c hasNetConn) NetConn() net.Conn                         { return c.aConn }
func (c hasSyscallConn) SyscallConn() (syscall.RawConn, error) { return c.socket.SyscallConn() }

func TestTheOptionsReachTheSocketInAWrappedConn(t *testing.T) {
	for name, wrap := range map[string]func(*net.TCPConn) net.Conn{
		"not wrapped":                  func(c *net.TCPConn) net.Conn { return c },
		"a value that embeds net.Conn": func(c *net.TCPConn) net.Conn { return embedsInterface{c} },
		"a pointer that embeds it":     func(c *net.TCPConn) net.Conn { return &embedsInterface{c} },
		"one that embeds *net.TCPConn": func(c *net.TCPConn) net.Conn { return &embedsTCPConn{c} },
		"NetConn":                      func(c *net.TCPConn) net.Conn { return hasNetConn{c} },
		"SyscallConn":                  func(c *net.TCPConn) net.Conn { return hasSyscallConn{c, c} },
		"NetConn around an embedding":  func(c *net.TCPConn) net.Conn { return hasNetConn{embedsInterface{c}} },
		"TLS":                          func(c *net.TCPConn) net.Conn { return tls.Client(embedsInterface{c}, new(tls.Config)) },
	} {
		t.Run(name, func(t *testing.T) {
			conn, _ := testkit.ConnectTCP(t)
			tcp := conn.(*net.TCPConn)
			if err := (sockets.Options{PeerTimeout: 90 * time.Second, SendBuffer: 20_000, ReceiveBuffer: 30_000}).Set(wrap(tcp)); err != nil {
				t.Fatal(err)
			}
			idle := socketOption(t, tcp, syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE)
			size := socketOption(t, tcp, syscall.SOL_SOCKET, syscall.SO_SNDBUF)
			receive := socketOption(t, tcp, syscall.SOL_SOCKET, syscall.SO_RCVBUF)
			if idle != 30 || size != 40_000 || receive != 60_000 {
				t.Errorf("a probe after %d s and buffers of %d and %d; want 30 s, twice 20,000 and twice 30,000", idle, size, receive)
			}
		})
	}
}

// The kernel has bounds; beyond them it would refuse the option.
func TestTheOptionsEndWhereTheKernelDoes(t *testing.T) {
	const userTimeout = 18 // TCP_USER_TIMEOUT of linux/tcp.h
	for _, test := range []struct {
		timeout    time.Duration
		idle, user int // seconds and milliseconds
	}{
		{time.Second, 1, 1000},
		{28 * time.Hour, 32767, 100_800_000},
		{25 * 24 * time.Hour, 32767, math.MaxInt32},
		{math.MaxInt64, 32767, math.MaxInt32},
	} {
		for _, buffer := range []int{1, math.MaxInt32, math.MaxInt} {
			conn, _ := testkit.ConnectTCP(t)
			if err := (sockets.Options{PeerTimeout: test.timeout, SendBuffer: buffer, ReceiveBuffer: buffer}).Set(conn); err != nil {
				t.Errorf("%v, %d: %v", test.timeout, buffer, err)
			}
			tcp := conn.(*net.TCPConn)
			idle := socketOption(t, tcp, syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE)
			user := socketOption(t, tcp, syscall.IPPROTO_TCP, userTimeout)
			if idle != test.idle || user != test.user {
				t.Errorf("%v: %d s and %d ms; want %d and %d", test.timeout, idle, user, test.idle, test.user)
			}
		}
	}
}

func TestASocketThatKeepsMessagesApartIsRefused(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := (sockets.Options{}).Set(conn.(net.Conn)); err != sockets.ErrNotAStream {
		t.Errorf("Set = %v; want ErrNotAStream", err)
	}
}
