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
	dial := func(verify func() error) error {
		config := testkit.ClientTLS()
		config.ServerName = ""
		config.VerifyConnection = func(tls.ConnectionState) error { return verify() }
		d := &libnet.Dialer{Protocol: testkit.Frames, TLSConfig: config}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s, err := ws.Dial(ctx, "wss://"+srv.Listener().Addr().String(), d, nil)
		if err == nil {
			_ = s.Close()
		}
		return err
	}
	if err := dial(func() error { return nil }); err != nil {
		t.Fatalf("one that behaves: %v", err)
	}
	release := make(chan struct{})
	defer close(release)
	for name, test := range map[string]struct {
		verify func() error
		want   error
	}{
		"panics":             {func() error { panic(hostileValue{}) }, libnet.ErrPanic},
		"ends its goroutine": {func() error { runtime.Goexit(); return nil }, nil},
		"hangs":              {func() error { <-release; return nil }, context.DeadlineExceeded},

		"has an error whose text panics":             {func() error { return hostileText{func() string { panic(hostileValue{}) }} }, nil},
		"has an error whose text ends its goroutine": {func() error { return hostileText{func() string { runtime.Goexit(); return "" }} }, nil},
		"has an error whose text hangs":              {func() error { return hostileText{func() string { <-release; return "" }} }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			err = nil // stays if Dial does not return
			testkit.Within(t, testkit.Patience, "Dial", func() {
				defer func() { _ = recover() }()
				err = dial(test.verify)
			})
			if err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("Dial: %v; want %v", err, test.want)
			}
		})
	}
}

// hostileValue panics with itself when it is to be printed.
type hostileValue struct{}

func (v hostileValue) Error() string { panic(v) }

// hostileText is an error of the user's whose text does what it says.
type hostileText struct{ does func() string }

func (e hostileText) Error() string { return e.does() }

func TestACauseOfAContextHarmsNoDialOfAWebSocket(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	for name, text := range map[string]func() string{
		"panics":             func() string { panic(hostileValue{}) },
		"ends its goroutine": func() string { runtime.Goexit(); return "" },
		"hangs":              func() string { <-release; return "" },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			cause := &hostileText{text}
			cancel(cause)
			var err error // stays if Dial does not return
			testkit.Within(t, testkit.Patience, "Dial", func() {
				defer func() { _ = recover() }()
				_, err = ws.Dial(ctx, "ws://"+hole(t), &libnet.Dialer{Protocol: testkit.Frames}, nil)
			})
			if !errors.Is(err, cause) {
				t.Error("Dial did not return the cause")
			}
		})
	}
}
