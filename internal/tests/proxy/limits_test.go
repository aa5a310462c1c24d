package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// come connects a client that a header tells of, and has it served.
func (r *rig) come(t testing.TB, header string) (client, error) {
	t.Helper()
	conn := r.dial(t)
	testkit.MustWrite(t, conn, []byte(header))
	c, err := r.pass(conn)
	if err != nil {
		_ = conn.Close()
		return c, err
	}
	if _, err := c.Write(c.frame("hello")); err != nil {
		return c, err
	}
	_, err = c.read()
	return c, err
}

func TestMaxSessionsPerIPCountsClientsAndNotTheirProxy(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		r := w.start(t, func(srv *libnet.Server) { srv.MaxSessionsPerIP = 2 })
		for _, header := range []string{v1Header, anotherV1, otherV1, v2Header, local, unknown, local, unknown} {
			if _, err := r.come(t, header); err != nil {
				t.Fatalf("%q: %v", header, err)
			}
		}
		answered := 0
		for n := range 3 {
			_, err := r.come(t, v1Header)
			if err == nil {
				t.Error("the third of one address is served")
			}
			if isAnswered(err) {
				answered++
			}
			testkit.Eventually(t, "the end of it", func() bool { return r.Stats().Open == 8 })
			if stats := r.Stats(); stats.Rejected != uint64(n+1) || stats.Accepted != uint64(8+n+1) {
				t.Errorf("%d rejected and %d accepted after %d too many", stats.Rejected, stats.Accepted, n+1)
			}
			if last := r.LastClosed()[0]; last.Err != libnet.ErrTooManySessionsPerIP || last.RemoteAddr.String() != v1Client {
				t.Errorf("%v ended with %v", last.RemoteAddr, last.Err)
			}
		}
		if w.web && answered == 0 {
			t.Error("none was told why")
		}
		for s := range r.Manager().All() {
			if s.RemoteAddr().String() == anotherOne {
				_ = s.Close()
			}
		}
		testkit.Eventually(t, "the place", func() bool { return r.Stats().Open == 7 })
		if _, err := r.come(t, v1Header); err != nil {
			t.Errorf("in the place of one that left: %v", err)
		}
	})
}

// isAnswered reports whether a client was told why it is refused. On a busy machine a handshake may take longer than
// that is tried.
func isAnswered(err error) bool {
	var answered *refused
	return errors.As(err, &answered) && answered.status == http.StatusServiceUnavailable
}

func TestMaxSessionsIsAnsweredBehindTheHeader(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		if !w.web {
			t.Skip("only WebSocket has an answer")
		}
		r := w.start(t, func(srv *libnet.Server) { srv.MaxSessions = 1 })
		if _, err := r.come(t, v1Header); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "an answer", func() bool {
			_, err := r.come(t, otherV1)
			if err == nil {
				t.Fatal("one too many is served")
			}
			return isAnswered(err)
		})
	})
}

// A client that is refused, and says nothing, is not waited for.
func TestARefusedClientThatIsSilentIsGone(t *testing.T) {
	overWays(t, func(t *testing.T, w way) {
		r := w.start(t, func(srv *libnet.Server) { srv.MaxSessionsPerIP = 1 })
		if _, err := r.come(t, v1Header); err != nil {
			t.Fatal(err)
		}
		conn := r.dial(t)
		testkit.MustWrite(t, conn, []byte(v1Header))
		if w.serves("Accept") {
			go func() { _, _ = r.pass(conn) }()
		}
		testkit.Eventually(t, "its end", func() bool { stats := r.Stats(); return stats.Rejected == 1 && stats.Open == 1 })
	})
}

// addrConn is a pipe from somewhere.
type addrConn struct {
	net.Conn
	addr net.Addr
}

func (c addrConn) RemoteAddr() net.Addr { return c.addr }

func TestOnlyAddressesOfTrustedNetworksAreProxies(t *testing.T) {
	prefixes := func(texts ...string) (trusted []netip.Prefix) {
		for _, text := range texts {
			trusted = append(trusted, netip.MustParsePrefix(text))
		}
		return trusted
	}
	tcp := func(text string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(text)) }
	unix := &net.UnixAddr{Net: "unix"}
	for _, test := range []struct {
		proxies libnet.ProxyProtocol
		peer    net.Addr
		trusted bool
	}{
		{libnet.ProxyProtocol{Trusted: prefixes("10.0.0.0/8")}, tcp("10.1.2.3:1"), true},
		{libnet.ProxyProtocol{Trusted: prefixes("10.0.0.0/8")}, tcp("[::ffff:10.1.2.3]:1"), true},
		{libnet.ProxyProtocol{Trusted: prefixes("10.0.0.0/8")}, tcp("11.1.2.3:1"), false},
		{libnet.ProxyProtocol{Trusted: prefixes("10.0.0.0/8")}, tcp("[2001:db8::1]:1"), false},
		{libnet.ProxyProtocol{Trusted: prefixes("10.0.0.0/8")}, unix, false},
		{libnet.ProxyProtocol{Trusted: prefixes("192.0.2.0/24", "10.1.2.3/32")}, tcp("10.1.2.3:1"), true},
		{libnet.ProxyProtocol{Trusted: prefixes("::ffff:10.0.0.0/104")}, tcp("10.1.2.3:1"), true},
		{libnet.ProxyProtocol{Trusted: prefixes("::ffff:10.0.0.0/104")}, tcp("11.1.2.3:1"), false},
		{libnet.ProxyProtocol{Trusted: prefixes("::/0")}, tcp("10.1.2.3:1"), false},
		{libnet.ProxyProtocol{Trusted: prefixes("0.0.0.0/0")}, tcp("[2001:db8::1]:1"), false},
		{libnet.ProxyProtocol{Trusted: prefixes("fe80::/10")}, tcp("[fe80::1%eth0]:1"), true},
		{libnet.ProxyProtocol{Trusted: []netip.Prefix{{}}}, tcp("10.1.2.3:1"), false},
		{libnet.ProxyProtocol{TrustUnix: true}, unix, true},
		{libnet.ProxyProtocol{TrustUnix: true}, nil, true},
		{libnet.ProxyProtocol{TrustUnix: true}, tcp("127.0.0.1:1"), false},
		{libnet.ProxyProtocol{TrustUnix: true}, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, false},
		{libnet.ProxyProtocol{TrustUnix: true}, &net.IPAddr{IP: net.IPv4(127, 0, 0, 1)}, false},
		{libnet.ProxyProtocol{}, tcp("127.0.0.1:1"), false},
		{libnet.ProxyProtocol{Timeout: time.Second}, unix, false},
	} {
		t.Run(fmt.Sprintf("%v and %v", test.proxies, test.peer), func(t *testing.T) {
			libnettest.VerifyNone(t)
			w := way{network: "pipe", serve: testkit.ReceiveLoop}
			r := w.start(t, func(srv *libnet.Server) { srv.ProxyProtocol = test.proxies })
			near, far := libnettest.Pipe()
			r.Listener().(*libnettest.Listener).Push(addrConn{far, test.peer}, nil)
			testkit.MustWrite(t, near, append([]byte(v1Header), testkit.Frame("hello")...))
			msg, err := testkit.ReadFrame(near)
			if test.trusted && (string(msg) != "hello "+v1Client || err != nil) {
				t.Errorf("a proxy is answered %q, %v", msg, err)
			}
			if !test.trusted && err == nil {
				t.Errorf("one that is none is answered %q", msg)
			}
			_ = near.Close()
		})
	}
}

// pipes are ways with a simulated clock.
var pipes = []way{
	{"Serve", "pipe", false, false, testkit.ReceiveLoop},
	{"ServeMessages", "pipe", false, false, (*libnet.Server).ServeMessages},
	{"TLS", "pipe", true, false, (*libnet.Server).ServeMessages},
	{"WS", "pipe", false, true, (*libnet.Server).ServeMessages},
}

func TestALateHeaderEndsItsSessionInTime(t *testing.T) {
	for _, w := range pipes {
		for name, test := range map[string]struct {
			set    func(*libnet.Server)
			begin  string
			drip   time.Duration // between a byte and the next; 0: all at once
			ends   time.Duration // 0: it does not
			reason error
		}{
			"nothing, by default": {ends: 5 * time.Second, reason: libnet.ErrProxyHeader},
			"nothing, with a timeout": {set: func(srv *libnet.Server) { srv.ProxyProtocol.Timeout = 7 * time.Second },
				ends: 7 * time.Second, reason: libnet.ErrProxyHeader},
			"nothing, with a shorter HandshakeTimeout": {set: func(srv *libnet.Server) { srv.HandshakeTimeout = 2 * time.Second },
				ends: 2 * time.Second, reason: libnet.ErrHandshakeTimeout},
			"nothing, with a longer HandshakeTimeout": {set: func(srv *libnet.Server) { srv.HandshakeTimeout = time.Minute },
				ends: 5 * time.Second, reason: libnet.ErrProxyHeader},
			"nothing, without a timeout": {set: func(srv *libnet.Server) { srv.ProxyProtocol.Timeout = -1 }},
			"nothing, with HandshakeTimeout alone": {set: func(srv *libnet.Server) { srv.ProxyProtocol.Timeout, srv.HandshakeTimeout = -1, time.Hour },
				ends: time.Hour, reason: libnet.ErrHandshakeTimeout},
			"a part":                    {begin: v1Header[:30], ends: 5 * time.Second, reason: libnet.ErrProxyHeader},
			"a line, byte by byte":      {begin: v1Header, drip: 700 * time.Millisecond, ends: 5 * time.Second, reason: libnet.ErrProxyHeader},
			"version 2, byte by byte":   {begin: v2Header, drip: 700 * time.Millisecond, ends: 5 * time.Second, reason: libnet.ErrProxyHeader},
			"a length of 16 KiB":        {begin: v2Start + "\x21\x11\x40\x00" + zeros16, drip: 350 * time.Millisecond, ends: 5 * time.Second, reason: libnet.ErrProxyHeader},
			"a header and then nothing": {begin: v1Header},
			"a header and then nothing, with HandshakeTimeout": {set: func(srv *libnet.Server) { srv.HandshakeTimeout = 10 * time.Second },
				begin: v1Header, ends: 10 * time.Second, reason: libnet.ErrHandshakeTimeout},
		} {
			t.Run(w.name+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := w.start(t, test.set)
					begun := time.Now()
					conn := r.dial(t)
					var dripping sync.WaitGroup
					defer dripping.Wait()
					dripping.Go(func() {
						for i := 0; i < len(test.begin); i++ {
							if _, err := io.WriteString(conn, test.begin[i:i+1]); err != nil {
								return
							}
							time.Sleep(test.drip)
						}
					})
					synctest.Wait()
					if test.ends == 0 {
						time.Sleep(24 * time.Hour)
						if n := r.Manager().Len(); n != 1 {
							t.Errorf("%d sessions: %v", n, r.Stats().Closed)
						}
						return
					}
					for s := range r.Manager().All() {
						<-s.Done()
						if after := time.Since(begun); after != test.ends || !errors.Is(s.Err(), test.reason) {
							t.Errorf("ended after %v with %v; want %v with %v", after, s.Err(), test.ends, test.reason)
						}
					}
				})
			})
		}
	}
}

// In a bubble who waits for the header lets the clock go on.
func TestWhoWaitsForTheHeaderHoldsUpNoClock(t *testing.T) {
	for _, w := range pipes {
		t.Run(w.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := w.start(t, nil)
				conn := r.dial(t)
				synctest.Wait()
				var waiting sync.WaitGroup
				for s := range r.Manager().All() {
					waiting.Go(func() { _ = s.Send([]byte("hello")) })
					waiting.Go(func() { _, _ = s.TLS() })
					waiting.Go(func() { _ = s.Codec() })
				}
				time.Sleep(time.Second)
				testkit.MustWrite(t, conn, []byte(v1Header))
				c := r.mustPass(t, conn)
				if got, err := c.read(); got != "hello" || err != nil {
					t.Errorf("read %q, %v", got, err)
				}
				waiting.Wait()
				c.ask(t, v1Client)
			})
		})
	}
}

// oddConn is a conn of the user's, whose Read does what such a conn may do.
type oddConn struct {
	net.Conn
	read func() (int, error)
}

func (c oddConn) Read([]byte) (int, error) { return c.read() }

func TestAConnWhoseReadIsOddHarmsItsOwnSession(t *testing.T) {
	for name, read := range map[string]func() (int, error){
		"panics":                     func() (int, error) { panic("Read") },
		"ends its goroutine":         func() (int, error) { runtime.Goexit(); return 0, nil },
		"reads nothing, for ever":    func() (int, error) { return 0, nil },
		"reads more than it may":     func() (int, error) { return 1 << 20, nil },
		"reads a negative number":    func() (int, error) { return -1, nil },
		"returns an error of no use": func() (int, error) { return 0, errors.New("broken") },
	} {
		for _, w := range pipes[:2] {
			t.Run(w.name+"/"+name, func(t *testing.T) {
				libnettest.VerifyNone(t)
				r := w.start(t, nil)
				near, far := libnettest.Pipe()
				r.Listener().(*libnettest.Listener).Push(oddConn{far, read}, nil)
				testkit.Eventually(t, "its end", func() bool { return len(r.LastClosed()) == 1 })
				_ = near.Close()
				if _, err := r.come(t, v1Header); err != nil {
					t.Errorf("another one: %v", err)
				}
			})
		}
	}
}

// Behind its header a silent session costs in event mode what any other does: no goroutine.
func TestASilentSessionBehindAProxyHasNoGoroutine(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("event mode is Linux's")
	}
	for _, w := range ways {
		if !w.serves("ServeMessages") {
			continue
		}
		t.Run(w.name, func(t *testing.T) {
			libnettest.VerifyNone(t)
			const n = 50
			r := w.start(t, nil)
			if _, err := r.come(t, v1Header); err != nil {
				t.Fatal(err)
			}
			before := runtime.NumGoroutine()
			for range n {
				if _, err := r.come(t, v1Header); err != nil {
					t.Fatal(err)
				}
			}
			testkit.Eventually(t, "their goroutines to end", func() bool { return runtime.NumGoroutine() < before+n/5 })
		})
	}
}
