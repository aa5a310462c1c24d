package libnet_test

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/libnet-go/libnet/libnettest"
)

// Close does not wait for a peer that does not read, also through TLS that another conn wraps.
func TestCloseOfWrappedTLSDoesNotWaitForThePeer(t *testing.T) {
	const size = 32 << 10
	near, far := libnettest.PipeSize(size)
	defer far.Close()
	server := tls.Server(near, serverTLS())
	client := tls.Client(far, clientTLS())
	shaken := make(chan error, 1)
	go func() { shaken <- client.Handshake() }()
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	srv := newServer(t, frames, 8)
	s := adopt(t, srv, struct{ *tls.Conn }{server})
	mustSend(t, s, make([]byte, 10_000))
	settle := func() int {
		eventually(t, "an empty queue", func() bool { return s.Stats().Queued == 0 })
		return far.(interface{ Buffered() int }).Buffered()
	}
	mustSend(t, s, make([]byte, size-settle()-22-4-8192-22-100))
	mustSend(t, s, make([]byte, size-settle()-22-4))
	t.Logf("%d of %d bytes are under way", settle(), size)
	begin := time.Now()
	_ = s.Close()
	if took := time.Since(begin); took > time.Second {
		t.Errorf("Close took %v", took)
	}
}
