package config

import (
	"context"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/ws"
)

// compressFrom has messages echoed over WebSockets that both sides compress from there.
func compressFrom(t *testing.T, n int64) {
	for _, size := range []int{1, 1 << 12} {
		srv, err := libnet.Serve("tcp", "127.0.0.1:0", ws.Protocol(testkit.Frames, &ws.HandlerOptions{CompressFrom: int(n)}), 16)
		if err != nil {
			t.Fatal(err)
		}
		srv.Logger = testkit.Quiet
		served := make(chan error, 1)
		go func() { served <- modes[1].serve(srv) }()
		d := &libnet.Dialer{Protocol: testkit.Frames}
		d.SendQueue = 16
		c, err := ws.Dial(context.Background(), "ws://"+srv.Listener().Addr().String(), d, &ws.DialOptions{CompressFrom: int(n)})
		if err == nil {
			err = ask(t, c, make([]byte, size))
		}
		if err != nil {
			t.Error(err)
		}
		shutDown(t, srv, c)
		<-served
	}
}
