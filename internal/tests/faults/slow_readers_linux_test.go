package faults

import (
	"crypto/tls"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

// A peer with a small receive buffer has its window shut nearly whenever the kernel looks, though it reads without a
// pause: TCP_USER_TIMEOUT would end it, whichever way it is written to.
func TestPeerTimeoutLeavesAPeerAloneThatReadsSlowly(t *testing.T) {
	testkit.Slow(t)
	t.Parallel() // it mostly waits
	for name, way := range map[string]struct {
		network string
		covered bool
		send    func(t *testing.T, s *libnet.Session, msg []byte)
	}{
		"of messages of its own": {"tcp", false, func(t *testing.T, s *libnet.Session, msg []byte) { testkit.MustSend(t, s, msg) }},
		"of broadcasts":          {"tcp", false, broadcastTo},
		"over TLS":               {"tls", false, func(t *testing.T, s *libnet.Session, msg []byte) { testkit.MustSend(t, s, msg) }},
		"over a user's conn":     {"tcp", true, func(t *testing.T, s *libnet.Session, msg []byte) { testkit.MustSend(t, s, msg) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, conn := slowlyRead(t, way.network, way.covered, nil)
			for range 16 {
				way.send(t, s, make([]byte, 256<<10))
			}
			sipFor(t, s, conn, 4*time.Second, 200*time.Millisecond, 16000)
			wait(t, s.Done(), "the end")
			testkit.WantErr(t, "the reason", s.Err(), libnet.ErrWriteTimeout) // of a peer that stopped
		})
	}
}

// The kernel's buffer of a session that always has something to send is as full at each look.
func TestPeerTimeoutLeavesAPeerAloneWhoseBacklogIsFilledToTheSameLevel(t *testing.T) {
	testkit.Slow(t)
	t.Parallel()
	s, conn := slowlyRead(t, "tcp", false, func(srv *libnet.Server) { srv.SendBuffer = 1 })
	for range 60 {
		testkit.MustSend(t, s, make([]byte, 256<<10))
	}
	sipFor(t, s, conn, 5*time.Second, 450*time.Millisecond, 256<<10)
}

func broadcastTo(t *testing.T, s *libnet.Session, msg []byte) {
	t.Helper()
	var g libnet.Group[string]
	g.Put("it", s)
	defer g.Close()
	if r := g.Broadcast(msg); r.Sent != 1 {
		t.Fatalf("Broadcast: %+v", r)
	}
}

// slowlyRead returns a session with a PeerTimeout of a second, and its peer, which has a small receive buffer.
func slowlyRead(t *testing.T, network string, covered bool, set func(*libnet.Server)) (*libnet.Session, net.Conn) {
	t.Helper()
	mode := testkit.Mode{Network: network, Protocol: testkit.Frames, Serve: testkit.ReceiveLoop}
	if covered {
		mode.Wrap = func(l net.Listener) net.Listener { return coveringListener{l} }
	}
	r := mode.Start(t, func(srv *libnet.Server) {
		srv.PeerTimeout, srv.Linger, srv.SendQueueBytes = time.Second, 200*time.Millisecond, 64<<20
		if set != nil {
			set(srv)
		}
	}, func(*libnet.Session, []byte) {})
	dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		_ = c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 65536) })
		return err
	}}
	conn, err := dialer.Dial("tcp", r.Listener().Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if network == "tls" {
		client := tls.Client(conn, testkit.ClientTLS())
		go client.Handshake()
		conn = client
	}
	return testkit.Await(t, soon, "the session", r.Sessions), conn
}

// coveringListener accepts conns that are the user's.
type coveringListener struct{ net.Listener }

type coveredConn struct{ *net.TCPConn }

func (l coveringListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return coveredConn{conn.(*net.TCPConn)}, nil
}

func sipFor(t *testing.T, s *libnet.Session, conn net.Conn, during, every time.Duration, size int) {
	t.Helper()
	sip := make([]byte, size)
	for begun := time.Now(); time.Since(begun) < during; time.Sleep(every) {
		if _, err := io.ReadFull(conn, sip); err != nil {
			t.Fatalf("after %v: %v, %v", time.Since(begun), err, s.Err())
		}
	}
	if s.IsClosed() {
		t.Fatalf("ended: %v", s.Err())
	}
}
