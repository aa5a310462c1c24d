package libnet_test

import (
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
)

// TCP_USER_TIMEOUT ends a peer with a small receive buffer though it reads without a pause: its window is hardly ever open
// when the kernel looks.
func TestPeerTimeoutLeavesAPeerAloneThatReadsSlowly(t *testing.T) {
	t.Parallel()
	srv, _ := listenOn(t, "tcp", 64, func(srv *libnet.Server) {
		srv.PeerTimeout, srv.Linger, srv.SendQueueBytes = time.Second, 200*time.Millisecond, 16<<20
	})
	made := make(chan *libnet.Session, 1)
	go srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) { made <- s; _, _ = s.Receive() }))
	dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		_ = c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 65536) })
		return err
	}}
	conn, err := dialer.Dial("tcp", srv.Listener().Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s := <-made
	for range 16 {
		mustSend(t, s, make([]byte, 256<<10))
	}
	sip := make([]byte, 16000)
	for begun := time.Now(); time.Since(begun) < 4*time.Second; time.Sleep(200 * time.Millisecond) {
		if _, err := io.ReadFull(conn, sip); err != nil {
			t.Fatalf("after %v: %v, %v", time.Since(begun), err, s.Err())
		}
	}
	if s.IsClosed() {
		t.Fatalf("ended: %v", s.Err())
	}
	wantEnd(t, s, libnet.ErrWriteTimeout) // of a peer that stopped
}
