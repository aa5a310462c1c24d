package testkit

import (
	"errors"
	"io"
	"net"
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
