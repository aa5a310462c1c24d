package libnet_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
)

// "It never waits for one": a member's own codec, or a logger, that blocks.
func TestABroadcastDoesNotWaitForAMembersCodec(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	bad := libnet.ProtocolFunc(func(rw io.ReadWriter) libnet.Codec {
		return &funcCodec{send: func(any) error { <-release; return nil }}
	})
	srv := newServer(t, bad, 8)
	near, _ := connectPipe(t)
	s := adopt(t, srv, near)
	s.Codec()
	done := make(chan struct{})
	go func() { defer close(done); srv.Manager().Broadcast([]byte("x")) }()
	await(t, 3*time.Second, "Broadcast", done)
}

func TestABroadcastDoesNotWaitForALogger(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	srv := libnet.NewServer(emptyListener(), codec.New(codec.Uint16BE, codec.Bytes), 8)
	srv.Logger = slog.New(scriptedLogger{func(slog.Record) { <-release }})
	near, _ := connectPipe(t)
	s, err := srv.NewSession(near)
	if err != nil {
		t.Fatal(err)
	}
	s.Codec()
	done := make(chan struct{})
	go func() { defer close(done); srv.Manager().Broadcast(struct{}{}) }() // cannot be encoded
	await(t, 3*time.Second, "Broadcast", done)
}

// Dial: "ctx, NetDialer's timeout, and HandshakeTimeout for the TLS handshake bound it", and it "has the protocol make the codec".
func TestDialReturnsWithItsContextWhileTheCodecIsBeingMade(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		if conn, err := l.Accept(); err == nil {
			accepted <- conn // and says nothing
		}
	}()
	d := libnet.Dialer{Protocol: helloProtocol()}
	d.NetDialer.Timeout, d.HandshakeTimeout = 100*time.Millisecond, 100*time.Millisecond
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		s, err := d.Dial(ctx, "tcp", l.Addr().String())
		if err == nil {
			_ = s.Close()
		}
		done <- err
	}()
	select {
	case <-done:
	case <-time.After(3 * time.Second):
		t.Error("Dial has not returned 3 s after its context")
		_ = (<-accepted).Close()
		<-done
	}
}
