package libnet_test

import (
	"context"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

// A main function ends when Serve returns: what a Shutdown still has to deliver must not end with it.
func TestServeReturnsAfterTheShutdownThatEndedIt(t *testing.T) {
	for _, mode := range testkit.Modes[:2] {
		t.Run(mode.Name, func(t *testing.T) {
			srv, err := libnet.Serve("tcp", "127.0.0.1:0", testkit.Frames, 16)
			if err != nil {
				t.Fatal(err)
			}
			closed := make(chan struct{})
			srv.OnSession = func(s *libnet.Session) error {
				s.OnClose(func() { time.Sleep(50 * time.Millisecond); close(closed) })
				return nil
			}
			served := make(chan error, 1)
			handler := libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) { _ = s.Send(msg) })
			go func() { served <- mode.Serve(srv, handler) }()
			client, err := libnet.Connect("tcp", srv.Listener().Addr().String(), testkit.Frames, 16)
			if err != nil {
				t.Fatal(err)
			}
			if err := client.Send([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			if _, err := client.Receive(); err != nil {
				t.Fatal(err)
			}
			go func() { _, _ = client.Receive() }() // until the server's EOF
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			go func() { _ = srv.Shutdown(ctx) }()
			if err := <-served; err != libnet.ErrServerClosed {
				t.Errorf("served: %v", err)
			}
			select {
			case <-closed:
			default:
				t.Error("Serve returned while a close callback of the shutdown was running")
			}
		})
	}
}
