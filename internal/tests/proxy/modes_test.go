package proxy

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/ws"
)

func TestTheClientsAddressIsTheSessionsInEveryMode(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		r := w.start(t, nil)
		for header, addr := range map[string]string{v1Header: v1Client, v2Header: v2Client, unknown: "", local: ""} {
			conn := r.dial(t)
			testkit.MustWrite(t, conn, []byte(header))
			c := r.mustPass(t, conn)
			if addr == "" {
				addr = own(conn)
			}
			c.ask(t, addr)
			c.ask(t, addr) // and again: what is behind the header is whole
			s := testkit.Await(t, testkit.Patience, "the session", r.sessions)
			if got := s.RemoteAddr().String(); got != addr {
				t.Errorf("%q: the session's peer is at %s, want %s", header, got, addr)
			}
			if w.web {
				if got := ws.Request(s).RemoteAddr; got != addr {
					t.Errorf("%q: the request came from %s, want %s", header, got, addr)
				}
			}
			if _, secure := s.TLS(); secure != w.secure {
				t.Errorf("%q: the session has TLS: %v", header, secure)
			}
			_ = conn.Close()
			testkit.Await(t, testkit.Patience, "the session's end", s.Done())
			testkit.Eventually(t, "the server's record", func() bool {
				closed := r.LastClosed()
				return len(closed) > 0 && closed[0].ID == s.ID() && closed[0].RemoteAddr.String() == addr
			})
			if got := s.RemoteAddr().String(); got != addr {
				t.Errorf("%q: at the end the session's peer is at %s, want %s", header, got, addr)
			}
		}
	})
}

func TestALogLineHasTheClientsAddress(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		logs := new(testkit.Log)
		r := w.start(t, func(srv *libnet.Server) { srv.Logger = slog.New(logs) })
		conn := r.dial(t)
		testkit.MustWrite(t, conn, []byte(v1Header))
		r.mustPass(t, conn).ask(t, v1Client)
		for s := range r.Manager().All() {
			_ = s.CloseWithError(errors.New("kicked"))
		}
		testkit.Eventually(t, "the line", func() bool { return len(logs.With("remote="+v1Client)) == 1 })
	})
}

// Under Serve and ServeMessages OnSession is told who comes.
func TestOnSessionSeesTheClientsAddress(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		if w.serves("Accept") {
			t.Skip("Accept may not wait for a header")
		}
		seen := make(chan string, 1)
		r := w.start(t, func(srv *libnet.Server) {
			srv.OnSession = func(s *libnet.Session) error { seen <- s.RemoteAddr().String(); return nil }
		})
		conn := r.dial(t)
		testkit.MustWrite(t, conn, []byte(v1Header))
		r.mustPass(t, conn).ask(t, v1Client)
		if got := testkit.Await(t, testkit.Patience, "OnSession", seen); got != v1Client {
			t.Errorf("OnSession saw %s", got)
		}
	})
}

func TestAHeaderMayBeSplitAnywhere(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		r := w.start(t, nil)
		for header, addr := range map[string]string{v1Header: v1Client, v2Header: v2Client} {
			for i := range len(header) {
				conn := r.dial(t)
				testkit.MustWrite(t, conn, []byte(header[:i]))
				time.Sleep(300 * time.Microsecond) // long enough for most to be read apart
				testkit.MustWrite(t, conn, []byte(header[i:]))
				if i%8 == 0 || !w.secure { // a handshake takes its time
					r.mustPass(t, conn).ask(t, addr)
				}
				_ = conn.Close()
			}
			conn := r.dial(t)
			for i := range len(header) {
				testkit.MustWrite(t, conn, []byte(header[i:i+1]))
				runtime.Gosched()
			}
			r.mustPass(t, conn).ask(t, addr)
		}
	})
}

// glued is a conn whose first write brings something before it: header and client in one segment.
type glued struct {
	net.Conn
	before string
}

func (g *glued) Write(p []byte) (int, error) {
	all := append([]byte(g.before), p...)
	g.before = ""
	_, err := g.Conn.Write(all)
	return len(p), err
}

func TestWhatComesWithTheHeaderIsTheClients(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		r := w.start(t, nil)
		for header, addr := range map[string]string{v1Header: v1Client, v2Header: v2Client} {
			r.mustPass(t, &glued{r.dial(t), header}).ask(t, addr)
		}
	})
}

func TestAPeerThatIsNoProxyHasItsHeaderReadAsFrames(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		r := w.start(t, func(srv *libnet.Server) {
			srv.ProxyProtocol = libnet.ProxyProtocol{Trusted: []netip.Prefix{netip.MustParsePrefix(noAddress)}}
		})
		conn := r.dial(t)
		r.mustPass(t, conn).ask(t, own(conn))
		conn = r.dial(t)
		testkit.MustWrite(t, conn, []byte(v1Header))
		_ = conn.(interface{ CloseWrite() error }).CloseWrite() // over WebSocket a line may be that of a request; others have closed it
		testkit.Eventually(t, "the end of a session that began with a header", func() bool {
			closed := r.Stats().Closed
			return closed["frame_too_large"]+closed["malformed_frame"]+closed["unexpected_eof"]+closed["error"] == 1
		})
	})
}

// hostile are connections of a proxy that has lost its mind. Each but the last two is over when it has been written.
var hostile = map[string]string{
	"HTTP":                      "GET / HTTP/1.1\r\n\r\n",
	"TLS":                       "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
	"a frame":                   string(testkit.Frame("hello")),
	"a line without an end":     "PROXY TCP4 " + strings.Repeat("1", 200),
	"an unknown one, as long":   "PROXY UNKNOWN " + strings.Repeat("1", 200),
	"another family's address":  "PROXY TCP4 2001:db8::1 ::1 56324 443\r\n",
	"fewer bytes than it needs": v2Start + "\x21\x11\x00\x0b" + zeros16,
	"the longest length":        v2Start + "\x21\x11\xff\xff" + zeros16,
	"a checksum":                v2Start + "\x21\x11\x00\x13" + "\xc0\x00\x02\x01\xcb\x00\x71\x09\xdc\x04\x01\xbb" + "\x03\x00\x040000",
	"an end within":             v1Header[:20],
}

func TestAHeaderThatIsNoneEndsItsSession(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		r := w.start(t, nil)
		for name, begin := range hostile {
			before := r.Stats().Closed["proxy_header"]
			conn := r.dial(t)
			testkit.MustWrite(t, conn, []byte(begin))
			if name == "an end within" {
				testkit.CloseWrite(t, conn)
			}
			if got := testkit.ReadToEnd(t, conn); len(got) > 0 {
				t.Errorf("%s: the peer got %q", name, got)
			}
			testkit.Eventually(t, "the close reason of "+name, func() bool { return r.Stats().Closed["proxy_header"] == before+1 })
			last := r.LastClosed()[0]
			if !errors.Is(last.Err, libnet.ErrProxyHeader) || !strings.HasPrefix(last.Err.Error(), "libnet: PROXY header: ") {
				t.Errorf("%s: ended with %v", name, last.Err)
			}
			if last.RemoteAddr.String() != own(conn) {
				t.Errorf("%s: came from %v, want %s", name, last.RemoteAddr, own(conn))
			}
		}
		if !w.serves("Accept") && len(r.sessions) > 0 {
			t.Error("OnSession was asked")
		}
		conn := r.dial(t) // a look whether there is a server
		_ = conn.Close()
		testkit.Eventually(t, "the end of what brought nothing", func() bool { return r.Stats().Closed["eof"] == 1 })
	})
}

func TestAServerThatStopsWaitsForNoHeader(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		for _, begin := range []string{"", v1Header[:20], v2Header[:20]} {
			for name, stop := range map[string]func(*libnet.Server){
				"Stop": (*libnet.Server).Stop,
				"Shutdown": func(srv *libnet.Server) {
					ctx, cancel := context.WithTimeout(context.Background(), hurry/2)
					defer cancel()
					_ = srv.Shutdown(ctx)
				},
			} {
				r := w.start(t, func(srv *libnet.Server) {
					srv.ProxyProtocol.Timeout, srv.Linger = -1, 20*time.Millisecond
					srv.ServeArrived = begin == ""
				})
				conn := r.dial(t)
				testkit.MustWrite(t, conn, []byte(begin))
				testkit.Eventually(t, "the session", func() bool { return r.Manager().Len() == 1 })
				testkit.Within(t, hurry, name, func() { stop(r.Server) })
				if n := r.Manager().Len(); n != 0 {
					t.Errorf("%s leaves %d sessions", name, n)
				}
			}
		}
	})
}

func TestASessionThatIsClosedWaitsForNoHeader(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		r := w.start(t, func(srv *libnet.Server) { srv.ProxyProtocol.Timeout = -1 })
		r.dial(t)
		testkit.Eventually(t, "the session", func() bool { return r.Manager().Len() == 1 })
		for s := range r.Manager().All() {
			sent := make(chan error, 1)
			go func() { sent <- s.Send([]byte("for nobody")) }() // it waits until it is known how to encode that
			_ = s.Close()
			testkit.Await(t, hurry, "the session's end", s.Done())
			testkit.WantErr(t, "Send", testkit.Await(t, hurry, "Send", sent), libnet.ErrSessionClosed)
		}
	})
}

func TestAMessageIsSentBehindTheHeader(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		r := w.start(t, nil)
		conn := r.dial(t)
		testkit.Eventually(t, "the session", func() bool { return r.Manager().Len() == 1 })
		var sent = make(chan error, 1)
		for s := range r.Manager().All() {
			go func() { sent <- s.SendContext(context.Background(), []byte("hello")) }()
		}
		time.Sleep(10 * time.Millisecond)
		testkit.MustWrite(t, conn, []byte(v1Header))
		c := r.mustPass(t, conn)
		if got, err := c.read(); got != "hello" || err != nil {
			t.Fatalf("read %q, %v", got, err)
		}
		if err := testkit.Await(t, testkit.Patience, "the send", sent); err != nil {
			t.Errorf("sent with %v", err)
		}
		c.ask(t, v1Client)
	})
}

// With Accept the header comes with the session's first use.
func TestAcceptWaitsForNoHeader(t *testing.T) {
	for name, use := range map[string]func(*libnet.Session) bool{
		"Receive": func(s *libnet.Session) bool { msg, _ := s.Receive(); return string(msg) == "hello" },
		"Send":    func(s *libnet.Session) bool { return s.Send([]byte("hello")) == nil },
		"Codec":   func(s *libnet.Session) bool { return s.Codec() != nil },
		"TLS":     func(s *libnet.Session) bool { _, ok := s.TLS(); return ok },
	} {
		t.Run(name, func(t *testing.T) {
			libnettest.VerifyNone(t)
			w := way{network: "tcp", secure: name == "TLS"}
			r := &rig{libnet.NewServer(testkit.Listen(t, "tcp"), testkit.Frames, 0), w, nil}
			r.ProxyProtocol.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
			if w.secure {
				r.TLSConfig = testkit.ServerTLS()
			}
			defer r.Stop()
			conn := r.dial(t)
			var s *libnet.Session
			testkit.Within(t, hurry, "Accept", func() { s, _ = r.Accept() })
			if got := s.RemoteAddr().String(); got != own(conn) {
				t.Errorf("before its first use the session's peer is at %s, want %s", got, own(conn))
			}
			testkit.MustWrite(t, conn, []byte(v2Header))
			go func() {
				c, _ := r.pass(conn)
				_, _ = c.Write(c.frame("hello"))
				testkit.Drain(c)
			}()
			if !use(s) {
				t.Errorf("it has failed, %v", s.Err())
			}
			if got := s.RemoteAddr().String(); got != v2Client {
				t.Errorf("the session's peer is at %s, want %s", got, v2Client)
			}
		})
	}
}

// Who takes longer to come to a session than its header may take has not waited for the proxy.
func TestAHeaderThatLiesUnreadIsNotLate(t *testing.T) {
	for name, timeout := range map[string]time.Duration{"by default": 0, "with HandshakeTimeout": 2 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := way{network: "pipe"}
				r := &rig{libnet.NewServer(testkit.Listen(t, w.network), testkit.Frames, 0), w, nil}
				defer r.Stop()
				r.ProxyProtocol.TrustUnix, r.HandshakeTimeout = true, timeout
				conn := r.dial(t)
				testkit.MustWrite(t, conn, append([]byte(v1Header), testkit.Frame("hello")...))
				s, err := r.Accept()
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				testkit.MustReceive(t, s, "hello")
				if got := s.RemoteAddr().String(); got != v1Client {
					t.Errorf("the session's peer is at %s, want %s", got, v1Client)
				}
			})
		})
	}
}

// What came with the header, and lies unread when a Shutdown with ServeArrived begins, is received.
func TestWhatArrivedBehindTheHeaderIsServed(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		if w.secure || w.web {
			t.Skip("what has arrived there waits for a handshake")
		}
		handling, release := make(chan struct{}), make(chan struct{})
		r := w.start(t, func(srv *libnet.Server) {
			srv.ServeArrived = true
			srv.OnSession = func(*libnet.Session) error {
				if !w.serves("Accept") {
					close(handling)
					<-release
				}
				return nil
			}
		})
		conn := r.dial(t)
		c := r.mustPass(t, conn)
		testkit.MustWrite(t, conn, append([]byte(v1Header), c.frame("one")...))
		if w.serves("Accept") {
			close(handling)
		}
		testkit.Await(t, hurry, "OnSession", handling)
		testkit.MustWrite(t, conn, c.frame("two"))
		close(release)
		for _, msg := range []string{"one", "two"} {
			if got, err := c.read(); err != nil || got != msg+" "+v1Client {
				t.Fatalf("read %q, %v", got, err)
			}
		}
		testkit.Within(t, hurry, "Shutdown", func() { _ = r.Shutdown(context.Background()) })
		if _, err := c.read(); err != io.EOF {
			t.Errorf("behind the last: %v", err)
		}
	})
}
