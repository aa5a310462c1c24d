package config

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/handover"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// servedUntil is the row of Server.ServeUntil: a server with a session that is idle is ended by its context.
func servedUntil(t *testing.T, n int64) {
	l := libnettest.NewListener()
	srv := libnet.NewServer(l, testkit.Frames, 8)
	srv.Logger, srv.Linger = testkit.Quiet, -1
	conn, err := l.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(t.Context())
	srv.OnSession = func(*libnet.Session) error { cancel(); return nil }
	testkit.Within(t, testkit.Patience, "ServeUntil", func() {
		_ = srv.ServeUntil(ctx, time.Duration(n), func() error { return srv.Serve(libnet.HandlerFunc(testkit.NeverReceive)) })
	})
}

// drained is the row of Server.Drain: a server with a session is drained, in the time that its context leaves at the
// most.
func drained(t *testing.T, n int64) {
	srv, s, end := echoing(t, func(c *libnet.Config) { c.Linger = 50 * time.Millisecond })
	defer end()
	go func() { _, _ = s.Receive() }()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	testkit.Within(t, testkit.Patience, "Drain", func() { _ = srv.Drain(ctx, time.Duration(n)) })
	testkit.Await(t, testkit.Patience, "the client's end", s.Done())
}

// given is a row for how a server is given away: to a process that ends when all stands still. The server goes on.
func given(field func(*handover.GiveOptions) *time.Duration) number {
	return number{durations, func(t *testing.T, n int64) {
		srv, s, end := echoing(t, func(*libnet.Config) {})
		defer end()
		var o handover.GiveOptions
		*field(&o) = time.Duration(n)
		near, far := testkit.UnixPair(t)
		if _, err := far.Write([]byte{'R', 0, 0, 0, 0}); err != nil {
			t.Fatal(err)
		}
		if err := far.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		testkit.Within(t, testkit.Patience, "Give", func() {
			_, err := handover.Give(context.Background(), near, srv, o)
			if !errors.Is(err, handover.ErrKept) && !errors.Is(err, handover.ErrUnsupported) {
				t.Errorf("Give: %v", err)
			}
		})
		testkit.Within(t, testkit.Patience, "an echo", func() {
			if err := s.Send("x"); err != nil {
				t.Error(err)
			}
			if _, err := s.Receive(); err != nil {
				t.Error(err)
			}
		})
	}}
}

// echoing is a server with a client.
func echoing(t *testing.T, configure func(*libnet.Config)) (srv *libnet.Server, s *libnet.Session, end func()) {
	t.Helper()
	srv, err := libnet.Serve("tcp", "127.0.0.1:0", testkit.Frames, 16)
	if err != nil {
		t.Fatal(err)
	}
	srv.Logger = testkit.Quiet
	configure(&srv.Config)
	served := make(chan error, 1)
	go func() {
		served <- srv.ServeMessages(libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) { _ = s.Send(msg) }))
	}()
	if s, err = libnet.Connect("tcp", srv.Listener().Addr().String(), testkit.Frames, 16); err != nil {
		t.Fatal(err)
	}
	return srv, s, func() {
		_ = s.Close()
		srv.Stop()
		<-served
	}
}
