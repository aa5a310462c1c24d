package libnet_test

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// Close does not wait for a peer that does not read, also through TLS that another conn wraps.
func TestCloseOfWrappedTLSDoesNotWaitForThePeer(t *testing.T) {
	const size = 32 << 10
	near, far := libnettest.PipeSize(size)
	defer far.Close()
	server := tls.Server(near, testkit.ServerTLS())
	client := tls.Client(far, testkit.ClientTLS())
	shaken := make(chan error, 1)
	go func() { shaken <- client.Handshake() }()
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	srv := testkit.NewServer(t, testkit.Frames, 8)
	s := testkit.Adopt(t, srv, struct{ *tls.Conn }{server})
	testkit.MustSend(t, s, make([]byte, 10_000))
	settle := func() int {
		testkit.Eventually(t, "an empty queue", func() bool { return s.Stats().Queued == 0 })
		return far.(interface{ Buffered() int }).Buffered()
	}
	testkit.MustSend(t, s, make([]byte, size-settle()-22-4-8192-22-100))
	testkit.MustSend(t, s, make([]byte, size-settle()-22-4))
	t.Logf("%d of %d bytes are under way", settle(), size)
	begin := time.Now()
	_ = s.Close()
	if took := time.Since(begin); took > time.Second {
		t.Errorf("Close took %v", took)
	}
}
