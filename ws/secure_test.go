package ws_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/ws"
)

// A stoppedConn is a client's conn below crypto/tls that writes so many bytes and no more, and says that it has.
type stoppedConn struct {
	net.Conn
	left int
}

func (c *stoppedConn) Write(p []byte) (int, error) {
	n := min(len(p), c.left)
	c.left -= n
	if _, err := c.Conn.Write(p[:n]); err != nil {
		return 0, err
	}
	return len(p), nil
}

// helloLength is how long the first message of such a client is.
func helloLength(t *testing.T) int {
	near, far := net.Pipe()
	defer near.Close()
	go func() {
		_ = tls.Client(far, testkit.ClientTLS()).Handshake()
		_ = far.Close()
	}()
	header := make([]byte, 5)
	if _, err := io.ReadFull(near, header); err != nil {
		t.Fatal(err)
	}
	return len(header) + int(header[3])<<8 + int(header[4])
}

// Wherever a connection is on its way to a session, a shutdown ends it, and at once: a minute would be the handshake's
// bound.
func TestAShutdownEndsASecureHandshakeAtEachOfItsSteps(t *testing.T) {
	hello := helloLength(t)
	request := func(n int) func(*tls.Conn) {
		return func(c *tls.Conn) { _, _ = io.WriteString(c, upgradeRequest[:n]) }
	}
	for name, step := range map[string]struct {
		bytes int             // of the handshake that are sent; negative: all
		then  func(*tls.Conn) // says more
	}{
		"nothing":                  {0, nil},
		"a part of a header":       {3, nil},
		"a header":                 {5, nil},
		"a part of a ClientHello":  {hello / 2, nil},
		"all but a byte of it":     {hello - 1, nil},
		"a ClientHello":            {hello, nil},
		"and a part of the answer": {hello + 10, nil},
		"a handshake":              {-1, nil},
		"and a part of a request":  {-1, request(40)},
		"all but a byte of that":   {-1, request(len(upgradeRequest) - 1)},
		"a request":                {-1, request(len(upgradeRequest))},
	} {
		t.Run(name, func(t *testing.T) {
			libnettest.VerifyNone(t)
			eachProtocolMode(t, func(t *testing.T) {
				r := start(t, setup{handler: sink, config: func(srv *libnet.Server) {
					srv.TLSConfig, srv.HandshakeTimeout = testkit.ServerTLS(), time.Minute
				}})
				conn, err := net.Dial("tcp", r.listener.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(soon))
				stopped := &stoppedConn{conn, step.bytes}
				if step.bytes < 0 {
					stopped.left = 1 << 20
				}
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					client := tls.Client(stopped, testkit.ClientTLS())
					if client.Handshake() == nil && step.then != nil {
						step.then(client)
					}
					_, _ = io.Copy(io.Discard, client)
					_ = conn.Close()
				}()
				testkit.Eventually(t, "a session", func() bool { return r.Stats().Open == 1 })
				time.Sleep(5 * time.Millisecond) // that it comes as far as it does
				ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
				defer cancel()
				if err := r.Server.Shutdown(ctx); err != nil {
					t.Error(err)
				}
				testkit.Await(t, testkit.Patience, "the client's end", ended)
				if stats := r.Stats(); stats.Open != 0 || stats.Accepted != 1 {
					t.Errorf("%+v", stats)
				}
			})
		})
	}
}

// However a close frame meets this side's own end, one close frame answers, with the code of one of both, and then the
// stream ends.
func TestACloseFrameThatMeetsAnEndIsAnsweredOnce(t *testing.T) {
	chosen := websocket.CloseError{Code: 4001, Reason: "enough"}
	for name, end := range map[string]func(*libnet.Session){
		"Shutdown": func(s *libnet.Session) { _ = s.ShutdownWithError(context.Background(), chosen) },
		"Close":    func(s *libnet.Session) { _ = s.CloseWithError(chosen) },
	} {
		t.Run(name, func(t *testing.T) {
			eachOwnListener(t, func(t *testing.T) {
				r := start(t, setup{handler: sink, queue: 8})
				for i := range 60 {
					conn, in := r.raw(t)
					s := r.session(t)
					_ = s.Send("before")
					go func() {
						for range i % 6 {
							time.Sleep(10 * time.Microsecond)
						}
						_, _ = io.WriteString(conn, closing("\x0f\xa2bye"))
					}()
					go end(s)
					conn.SetReadDeadline(time.Now().Add(soon))
					got := closes(t, in)
					if len(got) != 1 || code(got[0]) != 4001 && code(got[0]) != 4002 {
						t.Fatalf("close frames %q, want one with 4001 or 4002", got)
					}
					conn.Close()
					<-s.Done()
					var why websocket.CloseError
					if !errors.As(s.Err(), &why) || why.Code != 4001 && why.Code != 4002 {
						t.Errorf("the session ended with %v", s.Err())
					}
				}
			})
		})
	}
}

// Frames that are no messages, without end and from a peer that never reads: over TLS, too, they cost their session
// only.
func TestAFloodOfControlFramesDelaysNobodyElse(t *testing.T) {
	eachOwnListener(t, func(t *testing.T) {
		r := start(t, setup{queue: 8, config: func(srv *libnet.Server) { srv.SendBuffer = 4 << 10 }})
		flood := strings.Repeat(frame(ping, strings.Repeat("x", 125))+frame(fin|0xa, "unsolicited")+frame(ping, ""), 200)
		stopped := make(chan struct{})
		for range 2 {
			conn, _ := r.raw(t)
			below(conn).SetReadBuffer(4 << 10)
			go func() {
				defer func() { stopped <- struct{}{} }()
				for {
					if _, err := io.WriteString(conn, flood); err != nil {
						return
					}
				}
			}()
		}
		conn, in := r.raw(t)
		conn.SetDeadline(time.Now().Add(soon))
		for range 200 {
			write(t, conn, frame(fin|binaryFrame, "hello"))
			wantEcho(t, in, "hello")
		}
		r.Stop()
		<-stopped
		<-stopped
	})
}

// A client that knows no TLS, and one that knows nothing else.
func TestATLSListenersClientsThatSpeakSomethingElseAreClosed(t *testing.T) {
	layer = testkit.ServerTLS()
	defer func() { layer = nil }()
	eachProtocolMode(t, func(t *testing.T) {
		r := start(t, setup{handler: sink})
		for name, said := range map[string]string{
			"a request":         upgradeRequest,
			"a long request":    strings.Replace(upgradeRequest, "\r\n\r\n", "\r\nX: "+strings.Repeat("x", 5000)+"\r\n\r\n", 1),
			"an HTTP/2 preface": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
			"noise":             string(bytes.Repeat([]byte{0xa5, 0x5a}, 3000)),
		} {
			conn, err := net.Dial("tcp", r.listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.SetDeadline(time.Now().Add(soon))
			write(t, conn, said)
			if rest, err := io.ReadAll(conn); errors.Is(err, context.DeadlineExceeded) || len(rest) > 0 && rest[0] != 21 {
				t.Errorf("%s: %q, %v", name, rest, err)
			}
			_ = conn.Close()
		}
		testkit.Eventually(t, "their end", func() bool { return r.Stats().Open == 0 })
	})
}

// silentClient returns the session of a client on a Unix socket that reads no more once it has been upgraded.
func silentClient(t *testing.T, r *rig) *libnet.Session {
	t.Helper()
	conn, err := net.Dial("unix", r.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	client := tls.Client(conn, testkit.AnyTLS())
	write(t, client, upgradeRequest)
	response, err := http.ReadResponse(bufio.NewReader(client), nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(response, err)
	}
	return r.session(t)
}

// sendOneByOne sends up to n messages, each in a write of its own, until the kernel takes no more.
func sendOneByOne(t *testing.T, s *libnet.Session, msg []byte, n int) (taken int) {
	t.Helper()
	for taken < n {
		send(t, s, msg)
		for begun := time.Now(); s.Stats().Queued > 0; time.Sleep(20 * time.Microsecond) {
			if time.Since(begun) > 100*time.Millisecond {
				return taken
			}
		}
		taken++
	}
	return taken
}

// The close frame may be the last that the kernel takes for a peer that does not read: TLS's close_notify then finds
// no room behind it, and crypto/tls would wait for five seconds. A Unix socket bounds writes rather than bytes, so of
// some numbers of small messages one leaves just that room.
func TestAnEndDoesNotWaitForRoomBehindItsCloseFrame(t *testing.T) {
	testkit.Slow(t)
	eachProtocolMode(t, func(t *testing.T) {
		for name, layered := range map[string]bool{"the server's TLS": false, "a listener's TLS": true} {
			t.Run(name, func(t *testing.T) {
				listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
				if err != nil {
					t.Fatal(err)
				}
				if layered {
					listener = tls.NewListener(listener, testkit.ServerTLS())
				}
				endBehindCloseFrames(t, start(t, setup{listener: listener, handler: sink, queue: 8, config: func(srv *libnet.Server) {
					srv.WriteTimeout, srv.Linger = 300*time.Millisecond, -1
					if !layered {
						srv.TLSConfig = testkit.ServerTLS()
					}
				}}))
			})
		}
	})
}

func endBehindCloseFrames(t *testing.T, r *rig) {
	large, small := make([]byte, 8<<10), []byte("x")
	filled := max(sendOneByOne(t, silentClient(t, r), large, 1000)-1, 0)
	filledClient := func() *libnet.Session {
		s := silentClient(t, r)
		sendOneByOne(t, s, large, filled)
		return s
	}
	most := sendOneByOne(t, filledClient(), small, 10_000)
	for n := most - 2; n <= most; n++ {
		for how, end := range map[string]func(s *libnet.Session) error{
			"Close":    (*libnet.Session).Close,
			"Shutdown": func(s *libnet.Session) error { return s.Shutdown(t.Context()) },
		} {
			s := filledClient()
			taken := sendOneByOne(t, s, small, n)
			begun := time.Now()
			err := end(s)
			if took := time.Since(begun); took > 4*time.Second || err != nil {
				t.Errorf("%s behind %d small messages of %d took %v: %v", how, taken, most, took, err)
			}
		}
	}
}

// Whoever sees a connection before net/http uses it, as ConnContext does, may ask for its handshake.
func TestATLSListenersConnDoesTheHandshakeThatItIsAskedFor(t *testing.T) {
	plain := testkit.Listen(t, "tcp")
	listener := ws.TLSListener(plain, testkit.ServerTLS())
	defer listener.Close()
	client, err := net.Dial("tcp", plain.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	asked := make(chan error, 1)
	go func() { asked <- conn.(interface{ Handshake() error }).Handshake() }()
	_ = client.SetDeadline(time.Now().Add(soon))
	if err := tls.Client(client, testkit.ClientTLS()).Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-asked; err != nil {
		t.Error(err)
	}
}
