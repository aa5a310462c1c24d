package ws_test

import (
	"bufio"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/ws"
)

// soon bounds what takes milliseconds when the machine has nothing else to do.
const soon = 2 * time.Minute

var frames = codec.New(codec.Uint32BE, codec.Bytes)

// A rig is an HTTP server whose only handler is a ws.Handler, or a server that serves WebSockets itself: see
// currentMode.
type rig struct {
	*libnet.Server
	listener net.Listener
	tls      bool                 // as layer was when it started
	sessions chan *libnet.Session // each session, before its handler runs
}

type setup struct {
	listener net.Listener // nil: a TCP port of its own
	protocol libnet.Protocol
	queue    int
	config   func(*libnet.Server)
	options  *ws.HandlerOptions
	handler  libnet.Handler // nil: echo
	serve    func(*http.Server, net.Listener) error
}

var echo = libnet.HandlerFunc(func(s *libnet.Session) {
	for {
		msg, err := s.Receive()
		if err != nil || s.SendContext(context.Background(), msg) != nil {
			return
		}
	}
})

// sink receives and forgets.
var sink = libnet.HandlerFunc(func(s *libnet.Session) {
	for {
		if _, err := s.Receive(); err != nil {
			return
		}
	}
})

func start(t testing.TB, set setup) *rig {
	t.Helper()
	if set.listener == nil {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		set.listener = listener
	}
	if set.protocol == nil {
		set.protocol = frames
	}
	if set.handler == nil {
		set.handler = echo
	}
	if compressing {
		set.options = withCompressFrom(set.options, suiteCompressFrom())
	}
	r := &rig{listener: set.listener, tls: layer != nil, sessions: make(chan *libnet.Session, 1024)}
	if (currentMode == protocolServe || currentMode == protocolEvents) && set.serve == nil {
		startProtocol(t, r, set)
		return r
	}
	if set.serve == nil {
		set.serve = (*http.Server).Serve
	}
	r.Server = libnet.NewServer(libnettest.NewListener(), set.protocol, set.queue)
	r.Logger = slog.New(slog.DiscardHandler)
	if set.config != nil {
		set.config(r.Server)
	}
	web := &http.Server{Handler: r.webHandler(set.handler, set.options), ErrorLog: discardLog}
	served := make(chan error, 1)
	if r.tls {
		set.listener = ws.TLSListener(set.listener, layer)
	}
	go func() { served <- set.serve(web, set.listener) }()
	t.Cleanup(func() {
		r.Stop()
		web.Close()
		<-served
	})
	return r
}

func withCompressFrom(o *ws.HandlerOptions, from int) *ws.HandlerOptions {
	if o == nil {
		o = new(ws.HandlerOptions)
	}
	set := *o
	set.CompressFrom = from
	return &set
}

// inBubble runs test in a synctest bubble, whose clock it drives, on a listener in memory.
func inBubble(t *testing.T, test func(t *testing.T, pipes *libnettest.Listener)) {
	synctest.Test(t, func(t *testing.T) { test(t, libnettest.NewListener()) })
}

func (r *rig) url() string {
	switch addr := r.listener.Addr(); {
	case addr.Network() == "pipe":
		return "ws://libnet.test/"
	case r.tls:
		return "wss://" + addr.String() + "/"
	default:
		return "ws://" + addr.String() + "/"
	}
}

func (r *rig) session(t testing.TB) *libnet.Session {
	t.Helper()
	select {
	case s := <-r.sessions:
		return s
	case <-time.After(soon):
		t.Fatal("no session came")
		return nil
	}
}

// dial returns a libnet client.
func (r *rig) dial(t testing.TB, queue int) *libnet.Session {
	t.Helper()
	d := &libnet.Dialer{Protocol: frames}
	d.SendQueue = queue
	d.Logger = slog.New(slog.DiscardHandler)
	o := new(ws.DialOptions)
	if compressing {
		o.CompressFrom = suiteCompressFrom()
	}
	s, err := ws.Dial(t.Context(), r.url(), d, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// browser returns a client that knows WebSocket and not libnet.
func (r *rig) browser(t testing.TB) *websocket.Conn {
	t.Helper()
	o := &websocket.DialOptions{}
	if compressing {
		o.CompressionMode, o.CompressionThreshold = websocket.CompressionContextTakeover, suiteCompressFrom()
	}
	if pipes, ok := r.listener.(*libnettest.Listener); ok {
		o.HTTPClient = &http.Client{Transport: &http.Transport{
			DialContext: func(context.Context, string, string) (net.Conn, error) { return pipes.Dial() },
		}}
	}
	c, _, err := websocket.Dial(t.Context(), r.url(), o)
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(-1)
	t.Cleanup(func() { c.CloseNow() })
	return c
}

const upgradeRequest = "GET / HTTP/1.1\r\nHost: libnet.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"

var discardLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)

// raw returns a connection that has been upgraded and on which the test speaks WebSocket itself.
func (r *rig) raw(t testing.TB) (net.Conn, *bufio.Reader) {
	t.Helper()
	var conn net.Conn
	var err error
	if pipes, ok := r.listener.(*libnettest.Listener); ok {
		conn, err = pipes.Dial()
	} else {
		conn, err = net.Dial("tcp", r.listener.Addr().String())
	}
	if err != nil {
		t.Fatal(err)
	}
	if r.tls {
		conn = tls.Client(conn, testkit.ClientTLS())
	}
	t.Cleanup(func() { conn.Close() })
	write(t, conn, upgradeRequest)
	in := bufio.NewReader(conn)
	response, err := http.ReadResponse(in, nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(response, err)
	}
	return conn, in
}

// frame is a masked WebSocket frame with the mask 0, which changes nothing.
func frame(first byte, payload string) string {
	length := string([]byte{0x80 | byte(len(payload))})
	if len(payload) > 125 {
		length = string([]byte{0x80 | 126, byte(len(payload) >> 8), byte(len(payload))})
	}
	return string([]byte{first}) + length + "\x00\x00\x00\x00" + payload
}

func write(t testing.TB, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Error(err)
	}
}

func send(t testing.TB, s *libnet.Session, msg any) {
	t.Helper()
	if err := s.SendContext(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
}

func want(t testing.TB, s *libnet.Session, msg string) {
	t.Helper()
	got, err := s.Receive()
	if err != nil || string(got) != msg {
		t.Fatalf("received %s, %v; want %s", abridge(got), err, abridge([]byte(msg)))
	}
}

func abridge(msg []byte) string {
	if len(msg) > 40 {
		return fmt.Sprintf("%q… (%d bytes)", msg[:40], len(msg))
	}
	return fmt.Sprintf("%q", msg)
}

// wantEnd waits for the session's end, for a reason.
func wantEnd(t testing.TB, s *libnet.Session, reason error) {
	t.Helper()
	select {
	case <-s.Done():
	case <-time.After(soon):
		t.Fatal("the session did not end")
	}
	if !errors.Is(s.Err(), reason) {
		t.Fatalf("ended with %v, want %v", s.Err(), reason)
	}
}

// wantCode reads to the end of a WebSocket and checks the close code.
func wantCode(t testing.TB, c *websocket.Conn, code websocket.StatusCode) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	for {
		if _, _, err := c.Read(ctx); err != nil {
			if got := websocket.CloseStatus(err); got != code {
				t.Fatalf("closed with %v (%v), want %v", got, err, code)
			}
			return
		}
	}
}

func numbered(n int) string { return fmt.Sprintf("message %d %s", n, strings.Repeat("x", n%200)) }

// acceptRaw is a server that agrees to the upgrade, with fields more, and then lets the test speak WebSocket itself.
func acceptRaw(t testing.TB, listener net.Listener, fields ...string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := listener.Accept()
	if err != nil {
		t.Error(err)
		return nil, nil
	}
	in := bufio.NewReader(conn)
	request, err := http.ReadRequest(in)
	if err != nil {
		t.Error(err)
		return conn, in
	}
	sum := sha1.Sum([]byte(request.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	write(t, conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "+
		base64.StdEncoding.EncodeToString(sum[:])+"\r\n"+strings.Join(append(fields, ""), "\r\n")+"\r\n")
	return conn, in
}
