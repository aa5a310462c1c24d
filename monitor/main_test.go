package monitor_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/libnettest"
)

func TestMain(m *testing.M) { libnettest.VerifyMain(m) }

var (
	protocol = codec.New(codec.Uint16BE, codec.Bytes)
	loopback = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7001}
	outside  = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 7001}
)

// newServer returns a server that is given conns rather than accepting them, and is stopped with the test.
func newServer(t testing.TB) *libnet.Server {
	t.Helper()
	srv := libnet.NewServer(libnettest.NewListener(), protocol, 8)
	srv.Logger = slog.New(slog.DiscardHandler)
	t.Cleanup(srv.Stop)
	return srv
}

// adopt makes a session of a new connection and returns it with its peer's end.
func adopt(t testing.TB, srv *libnet.Server) (s *libnet.Session, far net.Conn) {
	t.Helper()
	near, far := libnettest.Pipe()
	s, err := srv.NewSession(near)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = far.Close() })
	return s, far
}

// say has the peer at far send a message, and s receive it.
func say(t testing.TB, s *libnet.Session, far net.Conn, msg string) {
	t.Helper()
	if _, err := far.Write(append([]byte{byte(len(msg) >> 8), byte(len(msg))}, msg...)); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Receive(); err != nil || string(got) != msg {
		t.Fatalf("received %q, %v; want %q", got, err, msg)
	}
}

// request is one as the monitor at 127.0.0.1:7001 gets it, but for what change does.
func request(method, target string, change ...func(*http.Request)) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	r.Host = "127.0.0.1:7001"
	r = r.WithContext(context.WithValue(context.Background(), http.LocalAddrContextKey, net.Addr(loopback)))
	for _, f := range change {
		f(r)
	}
	return r
}

func arrivedAt(addr net.Addr) func(*http.Request) {
	return func(r *http.Request) {
		*r = *r.WithContext(context.WithValue(context.Background(), http.LocalAddrContextKey, addr))
	}
}

func withHost(host string) func(*http.Request) { return func(r *http.Request) { r.Host = host } }

func withHeader(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func withForm(form string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Body = io.NopCloser(strings.NewReader(form))
	}
}

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// get returns the body of what is answered with status 200.
func get(t testing.TB, h http.Handler, target string) string {
	t.Helper()
	w := serve(h, request("GET", target))
	if w.Code != http.StatusOK {
		t.Fatalf("GET %s: %d %s", target, w.Code, w.Body)
	}
	return w.Body.String()
}

func getJSON[T any](t testing.TB, h http.Handler, target string) (v T) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(get(t, h, target)))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("GET %s: %v", target, err)
	}
	return v
}

func anybody(*http.Request) bool { return true }
