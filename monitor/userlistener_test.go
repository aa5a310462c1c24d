package monitor_test

import (
	"context"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/monitor"
)

// An ownListener is the program's, with an Accept and a Close that do as they are told.
type ownListener struct {
	net.Listener
	accept func() (net.Conn, error)
	close  func() error
}

func (l *ownListener) Accept() (net.Conn, error) {
	if l.accept != nil {
		return l.accept()
	}
	return l.Listener.Accept()
}

func (l *ownListener) Close() error {
	if l.close != nil {
		return l.close()
	}
	return l.Listener.Close()
}

// An ownError is an error whose methods panic.
type ownError struct{}

func (ownError) Error() string   { panic("Error") }
func (ownError) Is(error) bool   { panic("Is") }
func (ownError) Unwrap() error   { panic("Unwrap") }
func (ownError) Temporary() bool { panic("Temporary") }
func (ownError) Timeout() bool   { panic("Timeout") }

func TestAListenerThatMisbehavesEndsItsMonitorOnly(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	for name, l := range map[string]*ownListener{
		"Accept returns nothing":       {accept: func() (net.Conn, error) { return nil, nil }},
		"Accept returns a nil pointer": {accept: func() (net.Conn, error) { return (*ownConn)(nil), nil }},
		"Accept panics":                {accept: func() (net.Conn, error) { panic("in Accept") }},
		"Accept ends its goroutine":    {accept: func() (net.Conn, error) { runtime.Goexit(); return nil, nil }},
		"Accept's error panics":        {accept: func() (net.Conn, error) { return nil, ownError{} }},
		"Close panics":                 {close: func() error { panic("in Close") }},
		"Close ends its goroutine":     {close: func() error { runtime.Goexit(); return nil }},
		"Close does not return":        {close: func() error { <-release; return nil }},
		"neither returns": {
			accept: func() (net.Conn, error) { <-release; return nil, net.ErrClosed },
			close:  func() error { <-release; return nil },
		},
	} {
		t.Run(name, func(t *testing.T) {
			l.Listener = testkit.Listen(t, "tcp")
			defer l.Listener.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			testkit.Within(t, testkit.Patience/2, "Serve", func() {
				defer func() {
					if r := recover(); r != nil {
						t.Errorf("Serve panics: %v", r)
					}
				}()
				if err := (monitor.Options{}).Serve(ctx, l, newServer(t)); err == nil {
					t.Error("Serve says that all is well")
				}
			})
		})
	}
	var nobody *ownListener
	if err := (monitor.Options{}).Serve(t.Context(), nobody, newServer(t)); err == nil {
		t.Error("Serve without a listener says that all is well")
	}
}

// An ownConn is the program's. net/http asks for its addresses, and reads from it, on goroutines of its own.
type ownConn struct {
	net.Conn
	read   func(p []byte) (int, error)
	remote func() net.Addr
}

func (c *ownConn) Read(p []byte) (int, error) {
	if c.read != nil {
		return c.read(p)
	}
	return c.Conn.Read(p)
}

func (c *ownConn) RemoteAddr() net.Addr {
	if c.remote != nil {
		return c.remote()
	}
	return c.Conn.RemoteAddr()
}

func TestAConnectionThatMisbehavesEndsAlone(t *testing.T) {
	for name, spoil := range map[string]func(*ownConn){
		"RemoteAddr panics":              func(c *ownConn) { c.remote = func() net.Addr { panic("in RemoteAddr") } },
		"RemoteAddr ends its goroutine":  func(c *ownConn) { c.remote = func() net.Addr { runtime.Goexit(); return nil } },
		"RemoteAddr is a nil pointer":    func(c *ownConn) { c.remote = func() net.Addr { return (*ownAddr)(nil) } },
		"Read panics":                    func(c *ownConn) { c.read = func([]byte) (int, error) { panic("in Read") } },
		"Read panics behind the request": func(c *ownConn) { c.read = thenPanic(c.Conn) },
		"Read counts too many":           func(c *ownConn) { c.read = func(p []byte) (int, error) { return len(p) + 1, nil } },
	} {
		t.Run(name, func(t *testing.T) {
			first := true
			l := &ownListener{Listener: testkit.Listen(t, "tcp")}
			l.accept = func() (net.Conn, error) {
				conn, err := l.Listener.Accept()
				if err != nil || !first {
					return conn, err
				}
				first = false
				own := &ownConn{Conn: conn}
				spoil(own)
				return own, nil
			}
			ctx, cancel := context.WithCancel(t.Context())
			served := make(chan error, 1)
			ready := func() bool { time.Sleep(20 * time.Millisecond); return true } // as long as something reads
			go func() { served <- monitor.Options{Ready: ready}.Serve(ctx, l, newServer(t)) }()
			client := &http.Client{Timeout: testkit.Patience / 2, Transport: &http.Transport{DisableKeepAlives: true}}
			get := func() error {
				answer, err := client.Get("http://" + l.Addr().String() + "/readyz")
				if err == nil {
					_ = answer.Body.Close()
				}
				return err
			}
			_ = get()
			if err := get(); err != nil {
				t.Errorf("the next connection: %v", err)
			}
			cancel()
			if err := testkit.Await(t, testkit.Patience, "Serve", served); err != nil {
				t.Error(err)
			}
		})
	}
}

type ownAddr struct{ text string }

func (a *ownAddr) Network() string { return a.text }
func (a *ownAddr) String() string  { return a.text }

// thenPanic reads once.
func thenPanic(conn net.Conn) func(p []byte) (int, error) {
	reads := 0
	return func(p []byte) (int, error) {
		if reads++; reads > 1 {
			panic("in Read")
		}
		return conn.Read(p)
	}
}
