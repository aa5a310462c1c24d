package eventmode

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"runtime"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
)

// oddRand is a Config.Rand that does something else in the next read, once it is told what.
type oddRand struct{ does chan func() }

func (r oddRand) Read(p []byte) (int, error) {
	select {
	case f := <-r.does:
		f()
	default:
	}
	return rand.Read(p)
}

// suites are those with CBC of TLS 1.2, which ask Config.Rand for each record.
var suites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}

// startWithOddRand starts a server whose records ask odd for random bytes, and returns the configuration of its
// clients.
func startWithOddRand(t *testing.T, sendQueue int) (odd oddRand, r *testkit.Rig, clients *tls.Config) {
	t.Helper()
	odd = oddRand{make(chan func(), 1)}
	config := testkit.ServerTLS()
	config.Rand, config.MaxVersion, config.CipherSuites = odd, tls.VersionTLS12, suites
	r = startTLS(t, config, func(srv *libnet.Server) { srv.SendQueue = sendQueue }, testkit.EchoMessage)
	clients = testkit.ClientTLS()
	clients.CipherSuites, clients.MaxVersion = suites, tls.VersionTLS12
	return odd, r, clients
}

// More sessions than a flusher has workers are written to, each with a Rand that hangs.
func TestARandThatHangsKeepsNoOtherSession(t *testing.T) {
	odd, r, clients := startWithOddRand(t, 64)
	var conns []*tls.Conn
	for range runtime.GOMAXPROCS(0) + 3 {
		conn, err := tls.Dial("tcp", r.Listener().Addr().String(), clients)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		testkit.Ask(t, conn, "first")
		conns = append(conns, conn)
	}
	release := make(chan struct{})
	defer close(release)
	hung := 0
	var other *libnet.Session
	for s := range r.Manager().All() {
		if hung == len(conns)-1 {
			other = s
			break
		}
		odd.does <- func() { <-release }
		testkit.Within(t, testkit.Patience, "a Send", func() { testkit.MustSend(t, s, []byte("kept")) })
		testkit.Eventually(t, "the write's Rand", func() bool { return len(odd.does) == 0 })
		hung++
	}
	testkit.Within(t, testkit.Patience, "a broadcast and a Send", func() {
		r.Manager().Broadcast([]byte("to all"))
		testkit.MustSend(t, other, []byte("not kept"))
	})
	for _, conn := range conns {
		if conn.LocalAddr().String() == other.RemoteAddr().String() {
			testkit.WantFrame(t, conn, "to all")
			testkit.WantFrame(t, conn, "not kept")
			testkit.Ask(t, conn, "and is answered")
		}
	}
}

func TestARandThatDoesNotReturnEndsItsSessionOnly(t *testing.T) {
	does := map[string]func(){"panics": func() { panic("no more entropy") }, "ends its goroutine": runtime.Goexit}
	for name, f := range does {
		t.Run(name, func(t *testing.T) {
			odd, r, clients := startWithOddRand(t, 64)
			open := func() (*tls.Conn, *libnet.Session) {
				var s *libnet.Session
				before := r.Manager().Len()
				conn, err := tls.Dial("tcp", r.Listener().Addr().String(), clients)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = conn.Close() })
				testkit.Ask(t, conn, "first")
				if n := r.Manager().Len(); n != before+1 {
					t.Fatalf("%d sessions after %d", n, before)
				}
				for each := range r.Manager().All() {
					if s == nil || each.ID() > s.ID() {
						s = each
					}
				}
				return conn, s
			}
			other, ofOther := open()
			for what, write := range map[string]func(*tls.Conn, *libnet.Session){
				"a Send":  func(_ *tls.Conn, s *libnet.Session) { _ = s.Send([]byte("news")) },
				"a reply": func(conn *tls.Conn, _ *libnet.Session) { testkit.MustWrite(t, conn, testkit.Frame("x")) },
			} {
				conn, s := open()
				odd.does <- f
				write(conn, s)
				testkit.Await(t, testkit.Patience, "the end after "+what, s.Done())
				testkit.Ask(t, other, "others go on after "+what)
				testkit.MustSend(t, ofOther, []byte("and are written to"))
				testkit.WantFrame(t, other, "and are written to")
			}
		})
	}
}

// A Rand that hangs is waited for as a Close of the user's is, and SendContext has its context.
func TestARandThatHangsKeepsNobodyWhoHasABound(t *testing.T) {
	calls := map[string]func(*testing.T, *libnet.Session){
		"Close": func(_ *testing.T, s *libnet.Session) { _ = s.Close() },
		"SendContext": func(t *testing.T, s *libnet.Session) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			testkit.CheckErr(t, "SendContext", s.SendContext(ctx, []byte("news")), context.DeadlineExceeded)
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			odd, r, clients := startWithOddRand(t, 0)
			conn, err := tls.Dial("tcp", r.Listener().Addr().String(), clients)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			testkit.Ask(t, conn, "first")
			release := make(chan struct{})
			defer close(release)
			odd.does <- func() { <-release }
			for s := range r.Manager().All() {
				testkit.Within(t, testkit.Patience, "the call", func() { call(t, s) })
			}
		})
	}
}
