package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/ws"
)

// A terminal over TLS and a browser over WebSocket, on real sockets: both hear what is said, and the end of the server
// is in order.
func TestATerminalAndABrowserTalkOverTLS(t *testing.T) {
	secure, certFile := testCertificate(t)
	c := newChat("secret")
	srv, err := libnet.Serve("tcp", "127.0.0.1:0", c.protocol(), 64)
	if err != nil {
		t.Fatal(err)
	}
	c.limit(srv)
	srv.TLSConfig = secure
	pages, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- serve(ctx, c, srv, ws.TLSListener(pages, secure)) }()

	browser := enter(t, "wss://"+pages.Addr().String()+"/ws", certFile)
	var out output
	err = converse(t.Context(), srv.Listener().Addr().String(), certFile, &login{"ann", "secret"}, strings.NewReader("hello\n"), &out)
	if want := "welcome, there are 2 here\n"; err != nil || !strings.HasPrefix(out.text(), want) {
		t.Errorf("ann reads %q, %v; want %q first", out.text(), err, want)
	}
	if msg, err := browser.Receive(); string(msg) != `{"type":"said","data":{"from":"ann","text":"hello"}}` {
		t.Errorf("the browser receives %q, %v", msg, err)
	}
	err = converse(t.Context(), srv.Listener().Addr().String(), certFile, &login{"eve", "guess"}, strings.NewReader(""), &out)
	if err == nil || !strings.HasSuffix(err.Error(), "wrong name or password") {
		t.Errorf("eve is told %v", err)
	}
	stop()
	if _, err := browser.Receive(); err == nil {
		t.Error("the browser's session goes on")
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// An output is a terminal's, which two goroutines write to.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// enter is what the page does: it speaks JSON as it stands.
func enter(t *testing.T, url, certFile string) *libnet.Session {
	t.Helper()
	secure, err := trusting(certFile)
	if err != nil {
		t.Fatal(err)
	}
	d := &libnet.Dialer{Protocol: codec.New(codec.Uint32BE, codec.Bytes), TLSConfig: secure}
	s, err := ws.Dial(t.Context(), url, d, &ws.DialOptions{Text: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	s.Send(`{"type":"login","id":1,"data":{"name":"bea","password":"secret"}}`)
	if msg, err := s.Receive(); string(msg) != `{"type":"login","reply":1,"data":{"members":1}}` {
		t.Fatalf("the browser receives %q, %v", msg, err)
	}
	return s
}

// testCertificate is httptest's, for 127.0.0.1, and a file with it.
func testCertificate(t *testing.T) (*tls.Config, string) {
	t.Helper()
	site := httptest.NewTLSServer(nil)
	defer site.Close()
	file := filepath.Join(t.TempDir(), "cert.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: site.Certificate().Raw}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: site.TLS.Certificates}, file
}
