package faults

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// pipeHandler is a pointer to something that is not there.
type pipeHandler struct{ n int }

func (h *pipeHandler) ServeSession(*libnet.Session)         { h.n++ }
func (h *pipeHandler) ServeMessage(*libnet.Session, []byte) { h.n++ }

// noFields needs nothing behind a pointer to it.
type noFields struct{}

func (*noFields) NewCodec(rw io.ReadWriter) libnet.Codec { return testkit.Frames.NewCodec(rw) }

// TestF92… of misuse_test.go, for what panicked with a nil dereference, later, or never.
func TestF92ZeroValuesAndNilsOfSomeTypePanicWhereTheyAreUsed(t *testing.T) {
	listener := libnettest.NewListener()
	srv := libnet.NewServer(listener, testkit.Frames, 8)
	srv.Logger = testkit.Quiet
	defer srv.Stop()
	near, far := libnettest.Pipe()
	defer far.Close()
	s, err := srv.NewSession(near)
	if err != nil {
		t.Fatal(err)
	}
	var group libnet.Group[string]
	var nobody context.Context
	noServer, noSession := new(libnet.Server), new(libnet.Session)
	noServer.MaxSessions = 3 // set as the fields of one that was made
	handler, messages := libnet.HandlerFunc(testkit.Echo), libnet.MessageHandlerFunc(testkit.EchoMessage)
	for name, misuse := range map[string]func(){
		"Serve of a zero Server":         func() { _ = noServer.Serve(handler) },
		"ServeMessages of a zero Server": func() { _ = noServer.ServeMessages(messages) },
		"Accept of a zero Server":        func() { _, _ = noServer.Accept() },
		"NewSession of a zero Server":    func() { _, _ = noServer.NewSession(near) },
		"ServeConn of a zero Server":     func() { _ = noServer.ServeConn(near, handler) },
		"ServeUntil of a zero Server":    func() { _ = noServer.ServeUntil(t.Context(), 0, func() error { return nil }) },
		"Stop of a zero Server":          func() { noServer.Stop() },
		"Shutdown of a zero Server":      func() { _ = noServer.Shutdown(t.Context()) },
		"Manager of a zero Server":       func() { noServer.Manager() },
		"Listener of a zero Server":      func() { noServer.Listener() },
		"Stopping of a zero Server":      func() { noServer.Stopping() },
		"Protocol of a zero Server":      func() { noServer.Protocol() },
		"Stats of a zero Server":         func() { noServer.Stats() },
		"LastClosed of a zero Server":    func() { noServer.LastClosed() },
		"Stop of a nil Server":           func() { (*libnet.Server)(nil).Stop() },

		"Send on a zero Session":           func() { _ = noSession.Send("x") },
		"SendContext on a zero Session":    func() { _ = noSession.SendContext(t.Context(), "x") },
		"Receive on a zero Session":        func() { _, _ = noSession.Receive() },
		"ReceiveInto on a zero Session":    func() { _, _ = noSession.ReceiveInto(nil) },
		"Close of a zero Session":          func() { _ = noSession.Close() },
		"CloseWithError of a zero Session": func() { _ = noSession.CloseWithError(io.EOF) },
		"Shutdown of a zero Session":       func() { _ = noSession.Shutdown(t.Context()) },
		"Codec of a zero Session":          func() { noSession.Codec() },
		"Done of a zero Session":           func() { noSession.Done() },
		"OnClose of a zero Session":        func() { noSession.OnClose(func() {}) },
		"a group with a zero Session":      func() { group.Put("a", noSession) },
		"a group with a nil Session":       func() { group.Put("a", nil) },

		"SendContext without a context":        func() { _ = s.SendContext(nobody, "x") },
		"Shutdown without a context":           func() { _ = s.Shutdown(nobody) },
		"a server's Shutdown without one":      func() { _ = srv.Shutdown(nobody) },
		"a manager's Shutdown without one":     func() { _ = srv.Manager().Shutdown(nobody) },
		"ServeUntil without a context":         func() { _ = srv.ServeUntil(nobody, 0, func() error { return nil }) },
		"ServeUntil without a function":        func() { _ = srv.ServeUntil(t.Context(), 0, nil) },
		"Dial without a context":               func() { _, _ = (&libnet.Dialer{Protocol: testkit.Frames}).Dial(nobody, "tcp", "127.0.0.1:1") },
		"Serve with a nil HandlerFunc":         func() { _ = srv.Serve(libnet.HandlerFunc(nil)) },
		"Serve with a nil pointer":             func() { _ = srv.Serve((*pipeHandler)(nil)) },
		"ServeMessages with a nil HandlerFunc": func() { _ = srv.ServeMessages(libnet.MessageHandlerFunc(nil)) },
		"ServeMessages with a nil pointer":     func() { _ = srv.ServeMessages((*pipeHandler)(nil)) },
		"ServeConn with a nil HandlerFunc":     func() { _ = srv.ServeConn(near, libnet.HandlerFunc(nil)) },
		"NewServer with a nil pointer":         func() { libnet.NewServer((*net.TCPListener)(nil), testkit.Frames, 0) },
		"NewServer with a nil ProtocolFunc":    func() { libnet.NewServer(listener, libnet.ProtocolFunc(nil), 0) },
		"NewServer with a nil protocol":        func() { libnet.NewServer(listener, (*codec.Composed)(nil), 0) },
	} {
		panicsInLibnetsWords(t, name, misuse)
	}
	if group.Len() != 0 {
		t.Errorf("the group has %d members", group.Len())
	}
	if s.IsClosed() {
		t.Errorf("misuse has ended a session: %v", s.Err())
	}
}

func panicsInLibnetsWords(t *testing.T, name string, misuse func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if text, _ := recover().(string); !strings.HasPrefix(text, "libnet: ") {
			t.Errorf("%s panicked with %q", name, text)
		}
	}()
	misuse()
	t.Errorf("%s did not panic", name)
}

func TestF92WhatIsNotThereIsAnErrorOfWhatReturnsOne(t *testing.T) {
	var nobody *libnet.Dialer
	near, far := libnettest.Pipe()
	defer far.Close()
	for name, call := range map[string]func() error{
		"Dial of a nil Dialer":          func() error { _, err := nobody.Dial(t.Context(), "tcp", "127.0.0.1:1"); return err },
		"NewSession of a nil Dialer":    func() error { _, err := nobody.NewSession(near); return err },
		"Serve with a nil ProtocolFunc": func() error { _, err := libnet.Serve("tcp", "127.0.0.1:0", libnet.ProtocolFunc(nil), 0); return err },
		"Serve with a nil protocol":     func() error { _, err := libnet.Serve("tcp", "127.0.0.1:0", (*codec.Composed)(nil), 0); return err },
		"Connect with a nil protocol":   func() error { _, err := libnet.Connect("tcp", "127.0.0.1:1", (*codec.Composed)(nil), 0); return err },
		"Dial with half of a heartbeat": func() error { d := halfOfAHeartbeat(); _, err := d.Dial(t.Context(), "tcp", "127.0.0.1:1"); return err },
		"a pipe with half a heartbeat's": func() error {
			d := halfOfAHeartbeat()
			c, _ := libnettest.Pipe()
			_, err := d.NewSession(c)
			return err
		},
	} {
		if err := call(); err == nil || !strings.HasPrefix(err.Error(), "libnet: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func halfOfAHeartbeat() *libnet.Dialer {
	d := &libnet.Dialer{Protocol: testkit.Frames}
	d.Heartbeat.Interval = time.Second
	return d
}

// A method that looks at nothing of its receiver works on a nil one.
func TestF92ANilPointerToATypeWithoutFieldsIsAProtocol(t *testing.T) {
	srv := libnet.NewServer(libnettest.NewListener(), (*noFields)(nil), 0)
	defer srv.Stop()
	near, far := libnettest.Pipe()
	s, err := srv.NewSession(near)
	if err != nil {
		t.Fatal(err)
	}
	testkit.MustWrite(t, far, testkit.Frame("works"))
	testkit.MustReceive(t, s, "works")
}

func TestF92SettingsThatCannotWorkPanicWhenServingBegins(t *testing.T) {
	handler, messages := libnet.HandlerFunc(testkit.Echo), libnet.MessageHandlerFunc(testkit.EchoMessage)
	for name, set := range map[string]func(*libnet.Server){
		"a heartbeat without a message": func(srv *libnet.Server) { srv.Heartbeat.Interval = time.Second },
		"TLS without a certificate":     func(srv *libnet.Server) { srv.TLSConfig = new(tls.Config) },
	} {
		srv := libnet.NewServer(libnettest.NewListener(), testkit.Frames, 0)
		set(srv)
		panicsInLibnetsWords(t, "Serve, "+name, func() { _ = srv.Serve(handler) })
		panicsInLibnetsWords(t, "ServeMessages, "+name, func() { _ = srv.ServeMessages(messages) })
		panicsInLibnetsWords(t, "Accept, "+name, func() { _, _ = srv.Accept() })
		srv.Stop()
	}
	srv := libnet.NewServer(libnettest.NewListener(), testkit.Frames, 0)
	srv.Heartbeat.Interval = time.Second
	near, far := libnettest.Pipe()
	defer far.Close()
	panicsInLibnetsWords(t, "NewSession", func() { _, _ = srv.NewSession(near) })
	panicsInLibnetsWords(t, "ServeConn", func() { _ = srv.ServeConn(near, handler) })
	srv.Heartbeat.Interval = -1 // off
	s := testkit.Adopt(t, srv, near)
	srv.Stop()
	testkit.CheckErr(t, "Err", s.Err(), libnet.ErrServerClosed)
}

// logged returns a server that logs to Log.
func logged(t *testing.T, queue int) (*libnet.Server, *testkit.Log) {
	srv, logs := testkit.NewServer(t, testkit.Frames, queue), &testkit.Log{}
	srv.Logger = slog.New(logs)
	return srv, logs
}

func adoptPipe(t *testing.T, srv *libnet.Server) *libnet.Session {
	near, _ := testkit.ConnectPipe(t)
	return testkit.Adopt(t, srv, near)
}

func TestAConfigThatIsChangedTooLateIsLoggedOnce(t *testing.T) {
	srv, logs := logged(t, 0)
	srv.Heartbeat = libnet.Heartbeat{Interval: time.Hour, Message: func(*libnet.Session) any { return "beat" }}
	adoptPipe(t, srv)
	adoptPipe(t, srv)
	if lines := logs.With("Config changed"); len(lines) > 0 {
		t.Errorf("nothing was changed: %q", lines)
	}
	srv.IdleTimeout, srv.RateLimit.Messages = time.Minute, 5
	srv.Heartbeat.Message = func(*libnet.Session) any { return "another" }
	adoptPipe(t, srv)
	adoptPipe(t, srv)
	lines := logs.With("Config changed after the first session")
	if len(lines) != 1 || !strings.Contains(lines[0], `fields="IdleTimeout, Heartbeat, RateLimit"`) {
		t.Errorf("the log has %q", lines)
	}
}

func TestACloseThatThrowsMessagesAwaySaysSoOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, logs := logged(t, 64)
		throwAway := func(end func(*libnet.Session)) {
			near, _ := testkit.ConnectNetPipe(t) // whose peer takes nothing
			s := testkit.Adopt(t, srv, near)
			for range 10 {
				testkit.MustSend(t, s, "lost")
			}
			end(s)
		}
		closeIt := func(s *libnet.Session) { _ = s.Close() }
		for range 5 {
			throwAway(closeIt)
		}
		lines := logs.With("Shutdown delivers them")
		if len(lines) != 1 || !strings.Contains(lines[0], "discarded=10") {
			t.Errorf("the log has %q", lines)
		}
		time.Sleep(time.Minute)
		throwAway(func(s *libnet.Session) { _ = s.CloseWithError(io.ErrClosedPipe) })
		throwAway(func(s *libnet.Session) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			_ = s.Shutdown(ctx)
		})
		_ = adoptPipe(t, srv).Close()
		if lines := logs.With("Shutdown delivers them"); len(lines) != 1 {
			t.Errorf("who has said why, or has nothing queued, is told: %q", lines)
		}
		throwAway(closeIt)
		if lines := logs.With("Shutdown delivers them"); len(lines) != 2 {
			t.Errorf("a minute later: %q", lines)
		}
	})
}

// The first program of many: its client has no server that would count.
func TestADialledSessionThatThrowsMessagesAwaySaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logs := &testkit.Log{}
		d := libnet.Dialer{Protocol: testkit.Frames}
		d.SendQueue, d.Logger = 64, slog.New(logs)
		time.Sleep(time.Hour) // all dialled sessions share the minute
		near, _ := testkit.ConnectNetPipe(t)
		s, err := d.NewSession(near)
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			testkit.MustSend(t, s, "lost")
		}
		_ = s.Close()
		if lines := logs.With("Shutdown delivers them"); len(lines) != 1 {
			t.Errorf("the log has %q", lines)
		}
	})
}

// A loop that goes on behind the end is slowed down to 100 rounds a second, and told so once.
func TestALoopThatIgnoresTheErrorOfReceiveIsSlowedDownAndLogged(t *testing.T) {
	for name, receive := range map[string]func(*libnet.Session) error{
		"Receive":     func(s *libnet.Session) error { _, err := s.Receive(); return err },
		"ReceiveInto": func(s *libnet.Session) error { _, err := s.ReceiveInto(nil); return err },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv, logs := logged(t, 0)
				near, far := testkit.ConnectPipe(t)
				s := testkit.Adopt(t, srv, near)
				_ = far.Close()
				began, rounds := time.Now(), 0
				for ; time.Since(began) < 10*time.Second && rounds < 10000; rounds++ {
					if err := receive(s); err != io.EOF {
						t.Fatalf("round %d: %v", rounds, err)
					}
				}
				if rounds < 1500 || rounds > 2100 {
					t.Errorf("%d rounds in 10 s; want 1,000 and 100 a second", rounds)
				}
				if lines := logs.With("goes on being called"); len(lines) != 1 {
					t.Errorf("the log has %q", lines)
				}
			})
		})
	}
}

func TestALoopThatIgnoresTheErrorOfAcceptIsSlowedDownAndLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, logs := logged(t, 0)
		srv.Stop()
		began, rounds := time.Now(), 0
		for ; time.Since(began) < 10*time.Second && rounds < 10000; rounds++ {
			if _, err := srv.Accept(); err != io.EOF {
				t.Fatalf("round %d: %v", rounds, err)
			}
		}
		if rounds < 1500 || rounds > 2100 {
			t.Errorf("%d rounds in 10 s; want 1,000 and 100 a second", rounds)
		}
		if lines := logs.With("goes on being called"); len(lines) != 1 {
			t.Errorf("the log has %q", lines)
		}
	})
}
