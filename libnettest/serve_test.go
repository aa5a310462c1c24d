package libnettest_test

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

var lines = codec.New(codec.Lines, codec.Bytes)

// echo is a handler of both kinds.
type echo struct{}

func (echo) ServeMessage(s *libnet.Session, msg []byte) { _ = s.Send(msg) }

func (e echo) ServeSession(s *libnet.Session) {
	var buf []byte
	for {
		msg, err := s.ReceiveInto(buf)
		if err != nil {
			return
		}
		e.ServeMessage(s, msg)
		buf = msg
	}
}

// modes are those of Serve and ServeMessages.
var modes = map[string]func(t testing.TB, srv *libnet.Server, h echo) *libnettest.Clients{
	"Serve": func(t testing.TB, srv *libnet.Server, h echo) *libnettest.Clients { return libnettest.Serve(t, srv, h) },
	"ServeMessages": func(t testing.TB, srv *libnet.Server, h echo) *libnettest.Clients {
		return libnettest.ServeMessages(t, srv, h)
	},
}

func inMemory() *libnet.Server { return libnet.NewServer(libnettest.NewListener(), lines, 64) }

// exchange has the clients of a server talk to it.
func exchange(t *testing.T, clients *libnettest.Clients, pairs bool) {
	t.Helper()
	client := clients.Dial()
	testkit.MustSend(t, client, "hello")
	testkit.MustReceive(t, client, "hello")
	if pairs {
		a, b := clients.Pair()
		testkit.MustSend(t, b, "unasked")
		testkit.MustReceive(t, a, "unasked")
	}
	d := &libnet.Dialer{Protocol: lines, TLSConfig: &tls.Config{InsecureSkipVerify: true}}
	testkit.MustSend(t, clients.DialWith(d), "and no word of the reply, nor a Close")
}

func TestServedClientsTalkInMemoryWithAndWithoutATestsClock(t *testing.T) {
	for name, serve := range modes {
		for _, secure := range []bool{false, true} {
			test := func(t *testing.T) {
				srv := inMemory()
				if secure {
					srv.TLSConfig = testkit.ServerTLS()
				}
				exchange(t, serve(t, srv, echo{}), true)
			}
			t.Run(name, func(t *testing.T) { libnettest.VerifyNone(t); test(t) })
			t.Run(name+" in a bubble", func(t *testing.T) { synctest.Test(t, test) })
		}
	}
}

func TestServedClientsTalkOverSockets(t *testing.T) {
	for name, serve := range modes {
		for _, network := range []string{"tcp", "tls", "unix"} {
			t.Run(name+" over "+network, func(t *testing.T) {
				libnettest.VerifyNone(t)
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if network == "unix" {
					_ = l.Close()
					l, err = net.Listen("unix", filepath.Join(t.TempDir(), "s"))
				}
				if err != nil {
					t.Fatal(err)
				}
				srv := libnet.NewServer(l, lines, 64)
				if network == "tls" {
					srv.TLSConfig = testkit.ServerTLS()
				}
				exchange(t, serve(t, srv, echo{}), network != "unix")
			})
		}
	}
}

func TestAPairIsThereWhileTheLoginIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := inMemory()
		srv.OnSession = func(s *libnet.Session) error {
			name, err := s.Receive()
			s.State = string(name)
			return err
		}
		client, s := libnettest.ServeMessages(t, srv, echo{}).Pair()
		time.Sleep(time.Hour)
		testkit.MustSend(t, client, "ann")
		testkit.MustSend(t, client, "hello")
		testkit.MustReceive(t, client, "hello")
		if s.State != "ann" {
			t.Errorf("logged in as %v", s.State)
		}
	})
}

func TestARawConnGetsWhatNoSessionSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := libnettest.Serve(t, inMemory(), echo{}).DialConn()
		testkit.MustWrite(t, conn, []byte("half a li"))
		testkit.MustWrite(t, conn, []byte("ne\n"))
		got := make([]byte, 12)
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != "half a line\n" {
			t.Errorf("read %q, %v", got, err)
		}
	})
}

// A wrong is a test that must fail, and what it must say.
type wrong struct {
	test func(t testing.TB)
	says string
}

// served runs one client's message through a handler.
func served(t testing.TB, configure func(*libnet.Server), h libnet.HandlerFunc) (*libnettest.Clients, *libnet.Session) {
	srv := inMemory()
	srv.Logger = testkit.Quiet
	if configure != nil {
		configure(srv)
	}
	clients := libnettest.Serve(t, srv, h)
	return clients, clients.Dial()
}

func receiveOne(s *libnet.Session) { _, _ = s.Receive() }

var wrongs = map[string]wrong{
	"a server that sends and closes": {func(t testing.TB) {
		closed := make(chan struct{})
		_, client := served(t, nil, func(s *libnet.Session) {
			defer close(closed)
			receiveOne(s)
			for s.Send(strings.Repeat("x", 10_000)) == nil { // more than the connection holds
			}
			_ = s.Close()
		})
		_ = client.Send("hello")
		<-closed
	}, "the server lost "},
	"a client that sends and closes": {func(t testing.TB) {
		srv := inMemory()
		clients := libnettest.Serve(t, srv, libnet.HandlerFunc(func(s *libnet.Session) { <-s.Done() }))
		client := clients.Dial()
		for client.Send(strings.Repeat("x", 10_000)) == nil { // more than the connection holds
		}
		_ = client.Close()
	}, "the clients lost "},
	"a handler that panics": {func(t testing.TB) {
		_, client := served(t, nil, func(*libnet.Session) { panic("oops") })
		_, _ = client.Receive()
	}, "1 panics"},
	"a handler that stays": {func(t testing.TB) {
		_, client := served(t, nil, func(s *libnet.Session) { time.Sleep(time.Minute) })
		_ = client.Send("hello")
	}, "1 handlers have not returned"},
	"a pair that is refused": {func(t testing.TB) {
		srv := inMemory()
		srv.Logger = testkit.Quiet
		srv.MaxSessions = 1
		clients := libnettest.Serve(t, srv, echo{})
		clients.Pair()
		clients.Pair()
	}, "the server has refused 1 connections"},
	"a listener that breaks": {func(t testing.TB) {
		l := libnettest.NewListener()
		l.Push(nil, errors.New("out of order"))
		libnettest.Serve(t, libnet.NewServer(l, lines, 1), echo{})
		time.Sleep(time.Second)
	}, "serving ended with: libnet: accept: out of order"},
	"no handler": {func(t testing.TB) { libnettest.Serve(t, inMemory(), nil) }, "without a handler"},
}

func TestWhatIsLostOrLeftFailsTheTest(t *testing.T) {
	for name, w := range wrongs {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := record(w.test)
				if !r.failed || !strings.Contains(r.output.String(), w.says) {
					t.Errorf("the test failed: %v, and said %q; want %q", r.failed, &r.output, w.says)
				}
				time.Sleep(time.Hour) // for who stays
			})
		})
	}
}

func TestATestThatIsAboutLossMayLose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := record(func(t testing.TB) {
			clients, client := served(t, nil, func(s *libnet.Session) {
				receiveOne(s)
				_ = s.Send("farewell")
				_ = s.Close()
				panic("oops")
			})
			clients.MayLose()
			_ = client.Send("hello")
			_, _ = client.Receive()
		})
		if r.failed {
			t.Errorf("failed with %q", &r.output)
		}
	})
}

func TestWhatIsSentToAClientThatHasLeftIsNoLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left, s := libnettest.ServeMessages(t, inMemory(), echo{}).Pair()
		testkit.MustSend(t, left, "hello")
		testkit.MustReceive(t, left, "hello")
		for range 20 { // more than the connection holds
			testkit.MustSend(t, s, strings.Repeat("x", 10_000))
		}
		_ = left.Close()
		<-s.Done()
		if s.Stats().Discarded == 0 {
			t.Error("nothing was discarded: the test tests nothing")
		}
	})
}

func TestAPairOverAUnixSocketIsRefused(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Skip(err)
	}
	r := record(func(t testing.TB) { libnettest.Serve(t, libnet.NewServer(l, lines, 1), echo{}).Pair() })
	if !r.failed || !strings.Contains(r.output.String(), "Unix socket") {
		t.Errorf("failed: %v, said %q", r.failed, &r.output)
	}
}

func TestWhatNobodyReceivedIsNoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := record(func(t testing.TB) {
			_, client := served(t, nil, func(s *libnet.Session) { receiveOne(s); _ = s.Send("reply"); receiveOne(s) })
			_ = client.Send("hello")
			time.Sleep(time.Second)
		})
		if r.failed || !strings.Contains(r.output.String(), "the clients did not receive 6 bytes") {
			t.Errorf("failed: %v, said %q", r.failed, &r.output)
		}
	})
}

func TestAServedHandlerThatKeepsItsMessageFindsItPoisoned(t *testing.T) {
	var kept []byte
	srv := inMemory()
	srv.Logger = slog.New(slog.DiscardHandler)
	client := libnettest.ServeMessages(t, srv, libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) {
		if kept == nil {
			kept = msg
		}
		_ = s.Send(kept)
	})).Dial()
	testkit.MustSend(t, client, "kept")
	testkit.MustReceive(t, client, "kept")
	testkit.MustSend(t, client, "?")
	testkit.MustReceive(t, client, "?\xdb\xdb\xdb")
}
