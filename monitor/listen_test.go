package monitor_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/monitor"
)

func TestNobodyListensOutsideLoopbackWithoutAnAuthoriser(t *testing.T) {
	srv := newServer(t)
	for _, addr := range []string{":0", "0.0.0.0:0", "[::]:0", "192.0.2.7:0"} {
		err := monitor.ListenAndServe(t.Context(), addr, srv)
		if err == nil || !strings.Contains(err.Error(), "Options.Authorize") {
			t.Errorf("ListenAndServe at %s: %v", addr, err)
		}
	}
	for _, addr := range []string{"127.0.0.1", "127.0.0.1:http-but-not-quite", "127.0.0.1:99999"} {
		if err := monitor.ListenAndServe(t.Context(), addr, srv); err == nil {
			t.Errorf("ListenAndServe at %s succeeded", addr)
		}
	}
	l := libnettest.NewListener() // whose address is no loopback's
	if err := (monitor.Options{}).Serve(t.Context(), l, srv); err == nil {
		t.Error("Serve succeeded")
	}
	if _, err := l.Accept(); err == nil {
		t.Error("Serve did not close the listener that it refused")
	}
}

func TestListenAndServeShowsTheServerUntilItsContextEnds(t *testing.T) {
	libnettest.VerifyNone(t)
	srv := newServer(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- monitor.Options{}.Serve(ctx, l, srv) }()
	client := http.Client{Transport: &http.Transport{}}
	response, err := client.Get("http://" + address + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("readyz: %s", response.Status)
	}
	if err := monitor.ListenAndServe(ctx, address, srv); err == nil {
		t.Error("two monitors at one address")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("it ended with: %v", err)
	}
	client.CloseIdleConnections()
	if _, err := net.Dial("tcp", address); err == nil {
		t.Error("somebody still listens")
	}
	if err := monitor.ListenAndServe(ctx, "localhost:0", srv); err != nil {
		t.Errorf("with a context that has ended: %v", err)
	}
}

func TestAListenerThatBreaksIsAnError(t *testing.T) {
	l := libnettest.NewListener()
	o := monitor.Options{Authorize: anybody}
	l.Push(nil, io.ErrUnexpectedEOF)
	if err := o.Serve(t.Context(), l, newServer(t)); err == nil || !strings.Contains(err.Error(), "unexpected EOF") {
		t.Errorf("Serve: %v", err)
	}
}

func TestAServerThatIsNoneLeavesNoListenerOpen(t *testing.T) {
	for name, server := range map[string]*libnet.Server{"nil": nil, "zero": {}} {
		l := libnettest.NewListener()
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: Serve did not panic", name)
				}
			}()
			_ = monitor.Options{Authorize: anybody}.Serve(t.Context(), l, server)
		}()
		l.Push(nil, io.ErrUnexpectedEOF) // of one that is open, Accept would wait
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: the listener is open: %v", name, err)
		}
	}
}

// Each of these clients would hold a connection, and a goroutine, for ever.
func TestASlowClientIsGivenUp(t *testing.T) {
	for name, test := range map[string]struct {
		sends string
		bound time.Duration
	}{
		"says nothing":            {"", 10 * time.Second},
		"never ends its header":   {"GET /varz HTTP/1.1\r\nHost: localhost\r\nX", 10 * time.Second},
		"never ends its body":     {"POST /close HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: same-origin\r\nContent-Length: 100\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\nid=", 10 * time.Second},
		"asks once and stays":     {"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 2 * time.Minute},
		"has an endless header":   {"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 40<<10), time.Second},
		"does not read, and asks": {strings.Repeat("GET /style.css HTTP/1.1\r\nHost: localhost\r\n\r\n", 500), 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := libnettest.NewListener()
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- monitor.Options{Authorize: anybody}.Serve(ctx, l, newServer(t)) }()
				conn, err := l.Dial()
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				go func() { _, _ = conn.Write([]byte(test.sends)) }()
				if name == "does not read, and asks" {
					time.Sleep(time.Minute)
				}
				_, _ = io.Copy(io.Discard, bufio.NewReader(conn)) // until the server hangs up
				if took := time.Since(began); took > test.bound {
					t.Errorf("given up after %v; want %v", took, test.bound)
				}
				_ = conn.Close()
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestARequestUnderWayDoesNotKeepTheMonitorFromEnding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := libnettest.NewListener()
		ctx, cancel := context.WithCancel(t.Context())
		asked, stuck := make(chan struct{}), make(chan struct{})
		o := monitor.Options{Authorize: func(*http.Request) bool { close(asked); <-stuck; return false }}
		ended := make(chan error, 1)
		go func() { ended <- o.Serve(ctx, l, newServer(t)) }()
		conn, err := l.Dial()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		<-asked
		began := time.Now()
		cancel()
		if err := <-ended; err != nil || time.Since(began) > 2*time.Second {
			t.Errorf("it ended with %v after %v", err, time.Since(began))
		}
		close(stuck)
		_ = conn.Close()
	})
}

// listen serves a monitor in memory until the test ends, and returns a function that gets a page of it.
func listen(t *testing.T, o monitor.Options, srv *libnet.Server) (get func(path string) string) {
	t.Helper()
	l := libnettest.NewListener()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- o.Serve(ctx, l, srv) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return l.Dial() },
	}}
	return func(path string) string {
		t.Helper()
		response, err := client.Get("http://localhost" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatal(response.Status, err)
		}
		return string(body)
	}
}
