// Package bubbles tests that servers, in all modes, are at home in testing/synctest bubbles over conns in memory: their
// clock moves as soon as everybody waits, timeouts pass to the nanosecond, and the bubble ends with the server.
package bubbles

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/coder/websocket"
	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/ws"
)

// No test may leave a goroutine behind.
func TestMain(m *testing.M) { libnettest.VerifyMain(m) }

// frames is what sessions speak, on a WebSocket what is in its messages.
var frames = codec.New(codec.Uint32BE, codec.Bytes)

// A way is one to serve, and to reach the server.
type way struct {
	name     string
	protocol libnet.Protocol
	serve    func(*libnet.Server, *libnettest.Listener, libnet.MessageHandler) error
	secure   bool
	web      bool
}

var ways = slices.Concat(waysOf("", frames, false, false), waysOf("TLS, ", frames, true, false),
	waysOf("plain codec, ", testkit.Plain, false, false),
	waysOf("WebSocket, ", ws.Protocol(frames, nil), false, true), waysOf("WebSocket with TLS, ", ws.Protocol(frames, nil), true, true),
	[]way{
		{"ws.MessageHandler", frames, overHTTP(func(srv *libnet.Server, h libnet.MessageHandler) http.Handler {
			return ws.MessageHandler(srv, h, nil)
		}), false, true},
		{"ws.Handler", frames, overHTTP(func(srv *libnet.Server, h libnet.MessageHandler) http.Handler {
			return ws.Handler(srv, receiveLoop(h), nil)
		}), false, true},
	})

// waysOf has both modes.
func waysOf(prefix string, p libnet.Protocol, secure, web bool) []way {
	return []way{
		{prefix + "Serve", p, func(srv *libnet.Server, _ *libnettest.Listener, h libnet.MessageHandler) error {
			return srv.Serve(receiveLoop(h))
		}, secure, web},
		{prefix + "ServeMessages", p, func(srv *libnet.Server, _ *libnettest.Listener, h libnet.MessageHandler) error {
			return srv.ServeMessages(h)
		}, secure, web},
	}
}

func receiveLoop(h libnet.MessageHandler) libnet.HandlerFunc {
	return func(s *libnet.Session) {
		for {
			msg, err := s.Receive()
			if err != nil {
				return
			}
			h.ServeMessage(s, msg)
		}
	}
}

// overHTTP serves what a web server on the listener upgrades.
func overHTTP(handler func(*libnet.Server, libnet.MessageHandler) http.Handler) func(*libnet.Server, *libnettest.Listener, libnet.MessageHandler) error {
	return func(srv *libnet.Server, l *libnettest.Listener, h libnet.MessageHandler) error {
		web := &http.Server{Handler: handler(srv, h)}
		go func() {
			<-srv.Stopping()
			_ = web.Close()
		}()
		_ = web.Serve(l)
		return libnet.ErrServerClosed
	}
}

// A rig is a server in a bubble.
type rig struct {
	*libnet.Server
	pipes    *libnettest.Listener
	way      way
	sessions chan *libnet.Session
}

func (w way) start(t *testing.T, configure func(*libnet.Server), h libnet.MessageHandlerFunc) *rig {
	t.Helper()
	r := &rig{pipes: libnettest.NewListener(), way: w, sessions: make(chan *libnet.Session, 8)}
	r.Server = libnet.NewServer(r.pipes, w.protocol, 64)
	r.Logger = testkit.Quiet
	if w.secure {
		r.TLSConfig = testkit.ServerTLS()
	}
	r.OnSession = func(s *libnet.Session) error { r.sessions <- s; return nil }
	if configure != nil {
		configure(r.Server)
	}
	served := make(chan error, 1)
	go func() { served <- w.serve(r.Server, r.pipes, h) }()
	t.Cleanup(func() {
		r.Stop()
		testkit.CheckErr(t, "serving", <-served, libnet.ErrServerClosed)
	})
	return r
}

// A peer is a client: a session, or another WebSocket implementation.
type peer struct {
	session *libnet.Session
	web     *websocket.Conn
}

func (p peer) send(t *testing.T, msg string) {
	t.Helper()
	err := error(nil)
	if p.web != nil {
		err = p.web.Write(t.Context(), websocket.MessageBinary, []byte(msg))
	} else {
		err = p.session.Send([]byte(msg))
	}
	if err != nil {
		t.Errorf("the client sends %q: %v", msg, err)
	}
}

func (p peer) receive() (string, error) {
	var msg []byte
	var err error
	if p.web != nil {
		_, msg, err = p.web.Read(context.Background())
	} else {
		msg, err = p.session.Receive()
	}
	return string(msg), err
}

func (p peer) close() {
	if p.web != nil {
		_ = p.web.CloseNow()
	} else {
		_ = p.session.Close()
	}
}

// dial returns a client and the server's session.
func (r *rig) dial(t *testing.T) (peer, *libnet.Session) {
	t.Helper()
	p := r.connect(t)
	t.Cleanup(p.close)
	if r.way.secure && !r.way.web { // the first use is the handshake
		p.send(t, "hello")
	}
	return p, <-r.sessions
}

func (r *rig) connect(t *testing.T) peer {
	t.Helper()
	if r.way.web {
		dial := func(context.Context, string, string) (net.Conn, error) { return r.pipes.Dial() }
		transport := &http.Transport{DialContext: dial, TLSClientConfig: testkit.AnyTLS()}
		t.Cleanup(transport.CloseIdleConnections)
		scheme := "ws"
		if r.way.secure {
			scheme = "wss"
		}
		web, _, err := websocket.Dial(t.Context(), scheme+"://libnet.test/", &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
		if err != nil {
			t.Fatal(err)
		}
		return peer{web: web}
	}
	conn, err := r.pipes.Dial()
	if err != nil {
		t.Fatal(err)
	}
	if r.way.secure {
		conn = tls.Client(conn, testkit.AnyTLS())
	}
	d := libnet.Dialer{Protocol: frames}
	d.SendQueue = 64
	s, err := d.NewSession(conn)
	if err != nil {
		t.Fatal(err)
	}
	return peer{session: s}
}

// inBubbles runs test in a bubble for each way.
func inBubbles(t *testing.T, test func(t *testing.T, w way)) {
	t.Helper()
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, w) })
		})
	}
}
