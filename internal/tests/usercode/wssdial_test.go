package usercode

import (
	"context"
	"crypto/tls"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/ws"
)

// net/http would do the handshake on a goroutine of its own.
func TestAFunctionOfTheTLSConfigOfAWebSocketsDialerHarmsThatDialOnly(t *testing.T) {
	srv, err := libnet.Serve("tcp", "127.0.0.1:0", ws.Protocol(testkit.Frames, nil), 8)
	if err != nil {
		t.Fatal(err)
	}
	srv.TLSConfig = testkit.ServerTLS()
	go srv.Serve(libnet.HandlerFunc(testkit.Echo))
	defer srv.Stop()
	dial := func(verify func()) error {
		config := testkit.ClientTLS()
		config.ServerName = ""
		config.VerifyConnection = func(tls.ConnectionState) error { verify(); return nil }
		d := &libnet.Dialer{Protocol: testkit.Frames, TLSConfig: config}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s, err := ws.Dial(ctx, "wss://"+srv.Listener().Addr().String(), d, nil)
		if err == nil {
			_ = s.Close()
		}
		return err
	}
	if err := dial(func() {}); err != nil {
		t.Fatalf("one that behaves: %v", err)
	}
	release := make(chan struct{})
	defer close(release)
	for name, test := range map[string]struct {
		verify func()
		want   error
	}{
		"panics":             {func() { panic(hostileValue{}) }, libnet.ErrPanic},
		"ends its goroutine": {runtime.Goexit, nil},
		"hangs":              {func() { <-release }, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.Within(t, testkit.Patience, "Dial", func() { err = dial(test.verify) })
			if err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("Dial: %v; want %v", err, test.want)
			}
		})
	}
}

// hostileValue panics with itself when it is to be printed.
type hostileValue struct{}

func (v hostileValue) Error() string { panic(v) }
