package faults

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// Misuse that no running program gets right later panics at once, with a text that says whose fault it is.
func TestF92WhatCannotWorkPanicsWhereItIsSaid(t *testing.T) {
	listener := libnettest.NewListener()
	srv := libnet.NewServer(listener, testkit.Frames64K, 0)
	defer srv.Stop()
	conn, peer := libnettest.Pipe()
	defer peer.Close()
	s, err := srv.NewSession(conn)
	if err != nil {
		t.Fatal(err)
	}
	for name, misuse := range map[string]func(){
		"NewServer without a listener":    func() { libnet.NewServer(nil, testkit.Frames64K, 0) },
		"NewServer without a protocol":    func() { libnet.NewServer(listener, nil, 0) },
		"Serve without a handler":         func() { _ = srv.Serve(nil) },
		"ServeMessages without a handler": func() { _ = srv.ServeMessages(nil) },
		"NewSession without a codec":      func() { libnet.NewSession(nil, 0) },
		"a manager's, without a codec":    func() { libnet.NewManager().NewSession(nil, 0) },
		"OnClose without a function":      func() { s.OnClose(nil) },
	} {
		func() {
			defer func() {
				if text, _ := recover().(string); !strings.HasPrefix(text, "libnet: ") {
					t.Errorf("%s panicked with %q", name, text)
				}
			}()
			misuse()
			t.Errorf("%s did not panic", name)
		}()
	}
}

func TestF92WhatCannotWorkNowIsAnError(t *testing.T) {
	if _, err := (&libnet.Dialer{}).Dial(t.Context(), "tcp", "127.0.0.1:1"); err == nil {
		t.Error("Dial without a protocol")
	}
	if _, err := libnet.Connect("tcp", "127.0.0.1:1", nil, 0); err == nil {
		t.Error("Connect without a protocol")
	}
	if _, err := libnet.Serve("no such network", "", testkit.Frames64K, 0); err == nil {
		t.Error("Serve on no network")
	}
	srv := libnet.NewServer(libnettest.NewListener(), testkit.Frames64K, 0)
	defer srv.Stop()
	if _, err := srv.NewSession(nil); err == nil {
		t.Error("NewSession without a connection")
	}
}

// Every knob of Config may have any value: zero is the default, negative off.
func TestF92AnyNumberInConfigWorks(t *testing.T) {
	for _, n := range []int{math.MinInt / 2, -1, 0, 1, math.MaxInt / 2} {
		synctest.Test(t, func(t *testing.T) {
			d := time.Duration(n)
			if n == 1 {
				d = time.Hour
			}
			r := testkit.Serve(t, "pipe", func(srv *libnet.Server) {
				srv.Config = libnet.Config{
					SendQueue: n, SendQueueBytes: n, MaxMessage: max(n, -1) * 16, HandshakeTimeout: d, FrameTimeout: d,
					WriteTimeout: d, IdleTimeout: d, Linger: min(d, time.Hour), PeerTimeout: d, SendBuffer: n, Logger: srv.Logger,
					Heartbeat: libnet.Heartbeat{Interval: d, Message: func(*libnet.Session) any { return "beat" }},
				}
				if n == 1 {
					srv.MaxMessage = 16
				}
				srv.MaxSessions, srv.MaxSessionsPerIP = n, n
			}, testkit.EchoWhileThereIsRoom)
			conn := r.Dial()
			testkit.Ask(t, conn, "works")
			conn.Close()
			if err := r.Shutdown(t.Context()); err != nil {
				t.Errorf("%d: Shutdown = %v", n, err)
			}
		})
	}
}

func TestF93ZeroValuesAndStrangersAreHarmless(t *testing.T) {
	var group libnet.Group[string]
	var manager libnet.Manager
	s := libnet.NewSession(deaf{}, 0)
	if group.Remove("never added", s) || group.Get("nobody") != nil || group.Len() != 0 {
		t.Error("an empty group has a member")
	}
	if group.Broadcast("to nobody") != (libnet.BroadcastResult{}) || manager.Broadcast("to nobody") != (libnet.BroadcastResult{}) {
		t.Error("a broadcast to nobody reached somebody")
	}
	for range group.All() {
		t.Error("an empty group iterates")
	}
	if manager.GetSession(1) != nil || manager.Len() != 0 {
		t.Error("an empty manager has a session")
	}
	if err := manager.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown of an empty manager = %v", err)
	}
	group.Close()
	group.Close()
	group.Put("late", s)
	if group.Len() != 0 {
		t.Error("a closed group takes a session")
	}
	stop := s.OnClose(func() { t.Error("a callback that was taken back ran") })
	if !stop() || stop() {
		t.Error("a callback is taken back once")
	}
	if s.LocalAddr() != nil || s.RemoteAddr() != nil || s.Err() != nil {
		t.Error("a session of a bare codec has no addresses and no error")
	}
	if err := s.CloseWithError(nil); err != nil || s.Err() != libnet.ErrSessionClosed {
		t.Errorf("CloseWithError(nil) = %v, %v", err, s.Err())
	}
}

// deaf is a codec that hears nothing.
type deaf struct{}

func (deaf) Receive() ([]byte, error) { return nil, io.EOF }
func (deaf) Send(any) error           { return nil }
func (deaf) Close() error             { return nil }

func TestF95ASessionThatIsNeverReceivedFromStillEnds(t *testing.T) {
	for name, peer := range map[string]func(conn net.Conn){
		"a silent peer":      func(net.Conn) {},
		"a peer that talked": func(conn net.Conn) { _, _ = conn.Write(testkit.Frame("anybody there?")) },
	} {
		for _, network := range []string{"pipe", "tcp"} {
			t.Run(name+" on "+network, func(t *testing.T) {
				r := testkit.Serve(t, network, func(srv *libnet.Server) {
					srv.IdleTimeout, srv.SendQueue = 50*time.Millisecond, 4
					srv.Heartbeat = libnet.Heartbeat{Interval: 10 * time.Millisecond, Message: func(*libnet.Session) any { return "beat" }}
				}, testkit.NeverReceive)
				conn, s := r.Open()
				peer(conn)
				r.WantClosed(s, libnet.ErrIdleTimeout)
			})
		}
	}
}

func TestSendContextAndShutdownTakeAContextThatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testkit.Serve(t, "pipe", func(srv *libnet.Server) { srv.SendQueue = 4 }, testkit.ReceiveToEnd)
		_, s := r.Open()
		over, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.SendContext(over, "late"); !errors.Is(err, context.Canceled) {
			t.Errorf("SendContext = %v", err)
		}
		if err := r.Shutdown(over); !errors.Is(err, context.Canceled) {
			t.Errorf("Shutdown = %v", err)
		}
		if !s.IsClosed() {
			t.Error("the session is open")
		}
	})
}
