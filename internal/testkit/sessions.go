package testkit

import (
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/libnettest"
)

// Quiet is for servers whose log is not what the test is about.
var Quiet = slog.New(slog.DiscardHandler)

// NewServer returns a server that is given conns rather than accepting them, and is stopped with the test.
func NewServer(t testing.TB, p libnet.Protocol, queue int) *libnet.Server {
	t.Helper()
	srv := libnet.NewServer(libnettest.NewListener(), p, queue)
	srv.Logger = Quiet
	srv.Linger = time.Second
	t.Cleanup(srv.Stop)
	return srv
}

// Adopt makes a session of conn.
func Adopt(t testing.TB, srv *libnet.Server, conn net.Conn) *libnet.Session {
	t.Helper()
	s, err := srv.NewSession(conn)
	if err != nil {
		t.Fatalf("NewSession: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// SessionPair returns sessions on both ends of a connection, of one protocol and queue size.
func SessionPair(t testing.TB, connect Connector, p libnet.Protocol, queue int) (a, b *libnet.Session) {
	t.Helper()
	near, far := connect(t)
	return Adopt(t, NewServer(t, p, queue), near), Adopt(t, NewServer(t, p, queue), far)
}

func MustSend(t testing.TB, s *libnet.Session, msg any) {
	t.Helper()
	if err := s.Send(msg); err != nil {
		t.Fatalf("Send: %v", err)
	}
}

func MustReceive(t testing.TB, s *libnet.Session, want string) {
	t.Helper()
	got, err := s.Receive()
	if err != nil || string(got) != want {
		t.Fatalf("Receive = %.64q, %v; want %.64q", got, err, want)
	}
}

func MustWrite(t testing.TB, w io.Writer, p []byte) {
	t.Helper()
	if _, err := w.Write(p); err != nil {
		t.Fatalf("Write: %v", err)
	}
}

// Echo is a handler that sends back what it receives.
func Echo(s *libnet.Session) {
	for {
		msg, err := s.Receive()
		if err != nil || s.Send(msg) != nil {
			return
		}
	}
}

// EchoWhileThereIsRoom drops the reply for which the queue has no room.
func EchoWhileThereIsRoom(s *libnet.Session) {
	for {
		msg, err := s.Receive()
		if err != nil {
			return
		}
		if err := s.Send(msg); err != nil && err != libnet.ErrSessionBlocked {
			return
		}
	}
}

// EchoMessage is Echo for ServeMessages.
func EchoMessage(s *libnet.Session, msg []byte) { _ = s.Send(msg) }

// ReceiveToEnd is a handler that receives until the session ends.
func ReceiveToEnd(s *libnet.Session) {
	for {
		if _, err := s.Receive(); err != nil {
			return
		}
	}
}

// NeverReceive is a handler that keeps a session without ever receiving.
func NeverReceive(s *libnet.Session) { <-s.Done() }
