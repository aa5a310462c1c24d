package testkit

import (
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// Drain reads what comes and makes nothing of it.
func Drain(conn net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		if _, err := conn.Read(buf); err != nil {
			return
		}
	}
}

// ReadToEnd reads until the peer's end, which must be an orderly one or, where the session was cut
// off, a reset; it returns what came before it.
func ReadToEnd(t testing.TB, conn net.Conn) []byte {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(2 * Patience))
	all, err := io.ReadAll(conn)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("the peer has not closed after %v", 2*Patience)
	}
	return all
}

// CloseWrite ends the conn's own direction.
func CloseWrite(t testing.TB, conn net.Conn) {
	t.Helper()
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatalf("CloseWrite: %v", err)
	}
}

// DialTCP is for what may dial a server that is busy.
func DialTCP(address string) (net.Conn, error) {
	return net.DialTimeout("tcp", address, 2*Patience)
}

// UnixPair returns both ends of a Unix socket.
func UnixPair(t testing.TB) (near, far *net.UnixConn) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	far, err = net.DialUnix("unix", nil, l.Addr().(*net.UnixAddr))
	if err != nil {
		t.Fatal(err)
	}
	if near, err = l.AcceptUnix(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	return near, far
}
