package libnet_test

import (
	"crypto/tls"
	"net"
	"path/filepath"
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
	var l net.Listener
	var err error
	switch network {
	case "pipe":
		l = libnettest.NewListener()
	case "unix":
		l, err = net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	default:
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		t.Fatal(err)
	}
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
	_ = srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
		for {
			msg, err := s.Receive()
			if err != nil {
				return
			}
			each(s, msg)
		}
	}))
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
