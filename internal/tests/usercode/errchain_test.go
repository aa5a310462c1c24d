package usercode

import (
	"context"
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/ws"
)

// A roundError wraps itself: who looks through its chain without a bound does so for ever.
type roundError struct{}

func (roundError) Error() string   { return "test: round" }
func (e roundError) Unwrap() error { return e }

func TestADialReturnsTheErrorOfAUsersTLSFunctionThatWrapsItself(t *testing.T) {
	protocol := codec.New(codec.Lines, codec.Bytes)
	srv := libnet.NewServer(testkit.Listen(t, "tcp"), protocol, 4)
	addr := srv.Listener().Addr().String()
	srv.TLSConfig = testkit.ServerTLS()
	srv.Logger = testkit.Quiet
	go func() {
		_ = srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) { _, _ = s.Receive() }))
	}()
	defer srv.Stop()
	config := testkit.ClientTLS()
	config.VerifyConnection = func(tls.ConnectionState) error { return roundError{} }
	dialer := &libnet.Dialer{Protocol: protocol, TLSConfig: config}
	for name, dial := range map[string]func(context.Context) (*libnet.Session, error){
		"TCP":       func(ctx context.Context) (*libnet.Session, error) { return dialer.Dial(ctx, "tcp", addr) },
		"WebSocket": func(ctx context.Context) (*libnet.Session, error) { return ws.Dial(ctx, "wss://"+addr, dialer, nil) },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
		began := time.Now()
		_, err := dial(ctx)
		if cancel(); err == nil || !strings.Contains(err.Error(), (roundError{}).Error()) {
			t.Errorf("%s: %v, after %v", name, err, time.Since(began))
		}
	}
}
