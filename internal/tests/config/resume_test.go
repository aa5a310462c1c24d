package config

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/reconnect"
	"github.com/libnet-go/libnet/resume"
)

// resumable is a row for a field of both ends' Config. A message is echoed, on a connection and then on another; or the
// session ends with its first connection where its window is that short.
func resumable(set func(*resume.Config, int64)) func(*testing.T, int64) {
	return func(t *testing.T, n int64) {
		server, client := new(resume.Server), new(resume.Client)
		set(&server.Config, n)
		set(&client.Config, n)
		echoedTwice(t, server, client)
	}
}

// resumeServer is a row for a field of a server.
func resumeServer(field func(*resume.Server) *int) func(*testing.T, int64) {
	return func(t *testing.T, n int64) {
		server := new(resume.Server)
		*field(server) = int(n)
		echoedTwice(t, server, new(resume.Client))
	}
}

func echoedTwice(t *testing.T, server *resume.Server, client *resume.Client) {
	protocol := codec.New(codec.Uint32BE, resume.Frames)
	server.MessageHandler = func(s *resume.Session, msg []byte) { _ = s.Send(msg) }
	srv, err := libnet.Serve("tcp", "127.0.0.1:0", protocol, 16)
	if err != nil {
		t.Fatal(err)
	}
	srv.Logger = testkit.Quiet
	served := make(chan error, 1)
	go func() { served <- srv.ServeMessages(server) }()
	s := client.Start(&reconnect.Client{
		Dial: func(context.Context) (*libnet.Session, error) {
			return libnet.Connect("tcp", srv.Listener().Addr().String(), protocol, 16)
		},
		MinBackoff: time.Millisecond,
		MaxBackoff: 10 * time.Millisecond,
		Logger:     testkit.Quiet,
	})
	testkit.Within(t, testkit.Patience, "two echoes", func() {
		for range 2 {
			if err := s.SendContext(context.Background(), "x"); err != nil {
				endedEarly(t, s, err)
				return
			}
			if msg, err := s.Receive(); err != nil || string(msg) != "x" {
				endedEarly(t, s, err)
				return
			}
			if conn := s.Conn(); conn != nil {
				_ = conn.Close()
			}
		}
	})
	_ = s.Close()
	server.Close()
	srv.Stop()
	<-served
}

// endedEarly wants the end that a short window brings, and nothing else.
func endedEarly(t *testing.T, s *resume.Session, err error) {
	t.Helper()
	if err == nil || s.State() != resume.Closed || s.Stats().Taken == 0 {
		t.Errorf("%v, %v, %+v", err, s.State(), s.Stats())
	}
}

// chaos has bytes pass a proxy, or the connection end.
func chaos(set func(*libnettest.Chaos, int64)) func(*testing.T, int64) {
	return func(t *testing.T, n int64) {
		l := testkit.Listen(t, "tcp")
		defer l.Close()
		go func() {
			for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
				_, _ = conn.Write([]byte("hello"))
				conn.Close()
			}
		}()
		var c libnettest.Chaos
		set(&c, n)
		p := libnettest.NewProxy(t, "tcp", l.Addr().String(), c)
		defer p.Close()
		conn, err := net.Dial("tcp", p.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // a stall may be long
		_, _ = conn.Read(make([]byte, 5))
	}
}
