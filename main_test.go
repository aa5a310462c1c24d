package libnet_test

import (
	"crypto/tls"
	"net"
	"testing"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// No test may leave a goroutine behind.
func TestMain(m *testing.M) { libnettest.VerifyMain(m) }

// listenOn returns a server on a network, "tcp", "unix", "tls" or "pipe", and what dials it.
func listenOn(t testing.TB, network string, queue int, set func(*libnet.Server)) (*libnet.Server, func() net.Conn) {
	t.Helper()
	l := testkit.Listen(t, network)
	srv := libnet.NewServer(l, testkit.Frames, queue)
	srv.Logger = testkit.Quiet
	if network == "tls" {
		srv.TLSConfig = testkit.ServerTLS()
	}
	if set != nil {
		set(srv)
	}
	t.Cleanup(srv.Stop)
	return srv, func() net.Conn {
		conn, err := dialOn(network, l)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
}

func dialOn(network string, l net.Listener) (net.Conn, error) {
	switch network {
	case "pipe":
		return l.(*libnettest.Listener).Dial()
	case "tls":
		return tls.Dial("tcp", l.Addr().String(), testkit.ClientTLS())
	}
	return net.Dial(network, l.Addr().String())
}

// serveEach serves in a mode, with a function for each message: its error ends the session.
func serveEach(srv *libnet.Server, mode string, each func(s *libnet.Session, msg []byte)) {
	if mode == "event" {
		_ = srv.ServeMessages(libnet.MessageHandlerFunc(each))
		return
	}
	_ = testkit.ReceiveLoop(srv, libnet.MessageHandlerFunc(each))
}

// wantEnd waits for the session's end and checks its reason.
func wantEnd(t testing.TB, s *libnet.Session, reason error) {
	t.Helper()
	testkit.Await(t, testkit.Patience, "the end", s.Done())
	testkit.WantErr(t, "the reason", s.Err(), reason)
}

// idleSession is a session of no connection.
func idleSession() *libnet.Session { return libnet.NewSession(&testkit.FuncCodec{}, 4) }

func panics(f func()) (did bool) {
	defer func() { did = recover() != nil }()
	f()
	return false
}
