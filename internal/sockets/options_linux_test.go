package sockets_test

import (
	"crypto/tls"
	"maps"
	"math"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet/internal/sockets"
	"github.com/libnet-go/libnet/internal/testkit"
)

func TestTheOptionsReachTheSocketInAWrappedConn(t *testing.T) {
	wraps := maps.Clone(testkit.Wraps)
	wrapped := wraps["a value that embeds net.Conn"]
	wraps["TLS"] = func(c *net.TCPConn) net.Conn { return tls.Client(wrapped(c), new(tls.Config)) }
	for name, wrap := range wraps {
		t.Run(name, func(t *testing.T) {
			conn, _ := testkit.ConnectTCP(t)
			tcp := conn.(*net.TCPConn)
			if err := (sockets.Options{PeerTimeout: 90 * time.Second, SendBuffer: 20_000, ReceiveBuffer: 30_000}).Set(wrap(tcp)); err != nil {
				t.Fatal(err)
			}
			idle := testkit.SocketOption(t, tcp, syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE)
			size := testkit.SocketOption(t, tcp, syscall.SOL_SOCKET, syscall.SO_SNDBUF)
			receive := testkit.SocketOption(t, tcp, syscall.SOL_SOCKET, syscall.SO_RCVBUF)
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
			idle := testkit.SocketOption(t, tcp, syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE)
			user := testkit.SocketOption(t, tcp, syscall.IPPROTO_TCP, userTimeout)
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
