// Package proxy tests Server.ProxyProtocol: in every way to serve, and behind haproxy and nginx. What a header is,
// internal/proxyproto tests.
package proxy

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/ws"
)

// No test may leave a goroutine behind.
func TestMain(m *testing.M) { libnettest.VerifyMain(m) }

// A way is one to serve.
type way struct {
	name    string
	network string // "tcp", "unix" or "pipe"
	secure  bool
	web     bool
	serve   func(*libnet.Server, libnet.MessageHandler) error
}

// ways are all over real sockets.
var ways = func() (all []way) {
	for _, mode := range []struct {
		name  string
		serve func(*libnet.Server, libnet.MessageHandler) error
	}{
		{"Serve", testkit.ReceiveLoop}, {"ServeMessages", (*libnet.Server).ServeMessages}, {"Accept", acceptLoop},
	} {
		all = append(all,
			way{"TCP and " + mode.name, "tcp", false, false, mode.serve},
			way{"Unix and " + mode.name, "unix", false, false, mode.serve},
			way{"TLS and " + mode.name, "tcp", true, false, mode.serve},
			way{"TLS over Unix and " + mode.name, "unix", true, false, mode.serve},
			way{"WS and " + mode.name, "tcp", false, true, mode.serve},
			way{"WSS and " + mode.name, "tcp", true, true, mode.serve},
		)
	}
	return all
}()

// serves reports whether the server is served by that method.
func (w way) serves(method string) bool { return strings.HasSuffix(w.name, " "+method) }

// acceptLoop is ServeMessages for who calls Accept.
func acceptLoop(srv *libnet.Server, h libnet.MessageHandler) error {
	for {
		s, err := srv.Accept()
		if err == io.EOF {
			return libnet.ErrServerClosed
		}
		if err != nil {
			return err
		}
		go func() {
			for {
				msg, err := s.Receive()
				if err != nil {
					return
				}
				h.ServeMessage(s, msg)
			}
		}()
	}
}

// overWays runs test once for each.
func overWays(t *testing.T, test func(t *testing.T, w way)) {
	t.Helper()
	libnettest.VerifyNone(t)
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			test(t, w)
		})
	}
}

// A rig is a server whose peers are proxies. It answers each message with the address that the session has then.
type rig struct {
	*libnet.Server
	way      way
	sessions chan *libnet.Session // each that OnSession sees
}

// start serves until the test ends, and checks then that the counters balance.
func (w way) start(t testing.TB, configure func(*libnet.Server)) *rig {
	t.Helper()
	protocol := libnet.Protocol(testkit.Frames)
	if w.web {
		protocol = ws.Protocol(testkit.Frames, nil)
	}
	r := &rig{libnet.NewServer(testkit.Listen(t, w.network), protocol, 64), w, make(chan *libnet.Session, 1000)}
	r.Logger, r.Linger = testkit.Quiet, 100*time.Millisecond
	r.HandshakeTimeout = -1 // over TLS there is one by default
	r.ProxyProtocol = libnet.ProxyProtocol{Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, TrustUnix: true}
	if w.secure {
		r.TLSConfig = testkit.ServerTLS()
	}
	r.OnSession = func(s *libnet.Session) error { r.sessions <- s; return nil }
	if configure != nil {
		configure(r.Server)
	}
	served := make(chan error, 1)
	go func() { served <- w.serve(r.Server, libnet.MessageHandlerFunc(answer)) }()
	t.Cleanup(func() {
		r.Stop()
		if err := testkit.Await(t, testkit.Patience, "the end of serving", served); !errors.Is(err, libnet.ErrServerClosed) {
			t.Errorf("serving ended with %v", err)
		}
		testkit.Eventually(t, "the end of every session", func() bool { return r.Stats().Open == 0 && r.Manager().Len() == 0 })
	})
	return r
}

func answer(s *libnet.Session, msg []byte) {
	_ = s.Send(append(append(msg, ' '), s.RemoteAddr().String()...))
}

// dial connects, as a proxy does, and writes nothing.
func (r *rig) dial(t testing.TB) net.Conn {
	t.Helper()
	var conn net.Conn
	var err error
	if pipes, ok := r.Listener().(*libnettest.Listener); ok {
		conn, err = pipes.Dial()
	} else {
		conn, err = net.Dial(r.Listener().Addr().Network(), r.Listener().Addr().String())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if r.way.network != "pipe" {
		_ = conn.SetDeadline(time.Now().Add(2 * testkit.Patience))
	}
	return conn
}

// pass is what a client does behind a header: it makes conn one of frames.
func (r *rig) pass(conn net.Conn) (client, error) { return enter(conn, r.way.secure, r.way.web) }

func enter(conn net.Conn, secure, web bool) (client, error) {
	if secure {
		conn = tls.Client(conn, testkit.AnyTLS())
	}
	c := client{conn, bufio.NewReader(conn), web}
	if !web {
		return c, nil
	}
	if _, err := io.WriteString(conn, upgradeRequest); err != nil {
		return c, err
	}
	response, err := http.ReadResponse(c.in, nil)
	if err == nil && response.StatusCode != http.StatusSwitchingProtocols {
		err = &refused{response.StatusCode}
	}
	return c, err
}

type refused struct{ status int }

func (e *refused) Error() string { return http.StatusText(e.status) }

const upgradeRequest = "GET / HTTP/1.1\r\nHost: libnet.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"

// A client sends short messages, as frames or as WebSocket's.
type client struct {
	net.Conn
	in  *bufio.Reader
	web bool
}

func (c client) frame(msg string) []byte {
	if c.web {
		return append([]byte{0x82, 0x80 | byte(len(msg)), 0, 0, 0, 0}, msg...) // a mask of zeros
	}
	return testkit.Frame(msg)
}

func (c client) read() (string, error) {
	header := make([]byte, 4)
	if c.web {
		header = header[:2]
	}
	if _, err := io.ReadFull(c.in, header); err != nil {
		return "", err
	}
	n := header[len(header)-1]
	if !c.web {
		n = byte(binary.BigEndian.Uint32(header))
	}
	msg := make([]byte, n)
	_, err := io.ReadFull(c.in, msg)
	return string(msg), err
}

// ask sends a message and wants the address behind it.
func (c client) ask(t testing.TB, addr string) {
	t.Helper()
	testkit.MustWrite(t, c.Conn, c.frame("I am"))
	if got, err := c.read(); err != nil || got != "I am "+addr {
		t.Fatalf("answered %q, %v; want the address %s", got, err, addr)
	}
}

// mustPass is pass for a client that is to be served.
func (r *rig) mustPass(t testing.TB, conn net.Conn) client {
	t.Helper()
	c, err := r.pass(conn)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const (
	v1Header   = "PROXY TCP4 192.0.2.1 203.0.113.9 56324 443\r\n"
	v1Client   = "192.0.2.1:56324"
	unknown    = "PROXY UNKNOWN\r\n"
	v2Start    = "\r\n\r\n\x00\r\nQUIT\n"
	v2Header   = v2Start + "\x21\x21\x00\x2b" + "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" + zeros16 + "\xdc\x04\x01\xbb" + "\x02\x00\x04test"
	v2Client   = "[2001:db8::1]:56324"
	local      = v2Start + "\x20\x00\x00\x00"
	zeros16    = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	hurry      = 3 * time.Second
	noAddress  = "203.0.113.0/24" // where no proxy is
	otherV1    = "PROXY TCP4 192.0.2.2 203.0.113.9 56324 443\r\n"
	anotherV1  = "PROXY TCP4 192.0.2.1 203.0.113.9 1 443\r\n"
	otherAddr  = "192.0.2.2:56324"
	anotherOne = "192.0.2.1:1"
)

// own is the address that conn's session has without a header.
func own(conn net.Conn) string { return conn.LocalAddr().String() }
