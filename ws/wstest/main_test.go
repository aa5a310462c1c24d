package wstest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math/big"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/ws"
)

func TestMain(m *testing.M) { libnettest.VerifyMain(m) }

// patience is for what a client needs to start and to do everything, on a busy machine.
const patience = time.Minute

// program finds one that the tests need. Without it they are skipped, unless CI is set.
func program(t testing.TB, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	missing(t, names[0])
	return ""
}

func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("no %s, and CI is set", what)
	}
	t.Skipf("no %s", what)
}

// A mode is how a server serves.
type mode struct {
	event        bool        // by ServeMessages
	config       *tls.Config // nil: not over TLS
	compressFrom int
}

// eachMode runs test for Serve and ServeMessages, with TLS and without, and with compression.
func eachMode(t *testing.T, test func(t *testing.T, m mode)) {
	for name, event := range map[string]bool{"Serve": false, "ServeMessages": true} {
		t.Run(name+"/plain", func(t *testing.T) { test(t, mode{event: event}) })
		t.Run(name+"/TLS", func(t *testing.T) { test(t, mode{event: event, config: serverTLS(t)}) })
		t.Run(name+"/compressed", func(t *testing.T) { test(t, mode{event: event, compressFrom: 100}) })
	}
}

// serve starts a server that echoes, and closes when it is asked to.
func serve(t testing.TB, protocol libnet.Protocol, m mode) *libnet.Server {
	t.Helper()
	srv, err := libnet.Serve("tcp", "127.0.0.1:0", protocol, 1024)
	if err != nil {
		t.Fatal(err)
	}
	srv.Logger, srv.TLSConfig, srv.SendQueueBytes = slog.New(slog.DiscardHandler), m.config, 8<<20
	answer := libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) {
		if string(msg) == "close" {
			go s.ShutdownWithError(context.Background(), websocket.CloseError{Code: 4001, Reason: "logged in elsewhere"})
			return
		}
		_ = s.Send(msg)
	})
	t.Cleanup(srv.Stop)
	if m.event {
		go srv.ServeMessages(answer)
	} else {
		go srv.Serve(receiveLoop(answer))
	}
	return srv
}

// receiveLoop is what ServeMessages stands for.
func receiveLoop(h libnet.MessageHandler) libnet.Handler {
	return libnet.HandlerFunc(func(s *libnet.Session) {
		for {
			msg, err := s.Receive()
			if err != nil {
				return
			}
			h.ServeMessage(s, msg)
		}
	})
}

func serverTLS(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// awaitNone waits for the end of every session.
func awaitNone(t testing.TB, srv *libnet.Server) {
	t.Helper()
	for deadline := time.Now().Add(patience); srv.Stats().Open > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d sessions are still open", srv.Stats().Open)
		}
	}
}

// webSockets are the addresses of a server of text and of one of binary messages.
func webSockets(t testing.TB, m mode) (text, binary string, servers []*libnet.Server) {
	t.Helper()
	frames := codec.New(codec.Uint32BE, codec.Bytes)
	scheme := "ws://"
	if m.config != nil {
		scheme = "wss://"
	}
	for _, isText := range []bool{true, false} {
		options := &ws.HandlerOptions{Text: isText, CompressFrom: m.compressFrom, OriginPatterns: []string{"*"}} // that of about:blank is null
		servers = append(servers, serve(t, ws.Protocol(frames, options), m))
	}
	return scheme + servers[0].Listener().Addr().String() + "/", scheme + servers[1].Listener().Addr().String() + "/", servers
}

// wantEnds checks what the sessions of the scenario ended for, once all have, and whether what they sent and received
// was compressed: a MiB of the same letter is among it.
func wantEnds(t testing.TB, servers []*libnet.Server, m mode) {
	t.Helper()
	for _, srv := range servers {
		awaitNone(t, srv)
	}
	if closed := servers[0].Stats().Closed; closed["error"] != 2 { // 4002 of the client, 4001 of the server
		t.Errorf("the sessions of text ended with %v", closed)
	}
	stats := servers[0].Stats()
	if out, in := stats.BytesOut < 1<<20, stats.BytesIn < 1<<20; out != (m.compressFrom > 0) || in != out {
		t.Errorf("%d bytes were sent as text and %d received, with compression from %d", stats.BytesOut, stats.BytesIn, m.compressFrom)
	}
	if closed := servers[1].Stats().Closed; closed["frame_too_large"] != 1 || closed["eof"] != 1 {
		t.Errorf("the sessions of binary messages ended with %v", closed)
	}
}
