package libnet_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// tlsEchoServer serves on a port until the test ends, over TLS if there is a config.
func tlsEchoServer(t testing.TB, config *tls.Config, set func(*libnet.Server)) *libnet.Server {
	t.Helper()
	srv, err := libnet.Serve("tcp", "127.0.0.1:0", testkit.Frames, 64)
	if err != nil {
		t.Fatal(err)
	}
	srv.Logger, srv.TLSConfig = testkit.Quiet, config
	if set != nil {
		set(srv)
	}
	served := make(chan error, 1)
	go func() {
		served <- srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
			for {
				msg, err := s.Receive()
				if err != nil || s.SendContext(context.Background(), msg) != nil {
					return
				}
			}
		}))
	}()
	t.Cleanup(func() {
		srv.Stop()
		<-served
	})
	return srv
}

// tlsDial dials srv and asks for an echo.
func tlsDial(t testing.TB, srv *libnet.Server, config *tls.Config) (*libnet.Session, error) {
	t.Helper()
	d := libnet.Dialer{Protocol: testkit.Frames, TLSConfig: config}
	d.Logger = testkit.Quiet
	s, err := d.Dial(t.Context(), "tcp", srv.Listener().Addr().String())
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { s.Close() })
	if err := s.Send("hello"); err != nil {
		return s, err
	}
	_, err = s.Receive()
	return s, err
}

func TestADialerAppliesItsConfig(t *testing.T) {
	srv := tlsEchoServer(t, nil, nil)
	d := libnet.Dialer{Protocol: testkit.Frames}
	d.SendQueue, d.MaxMessage, d.IdleTimeout, d.Logger = 3, 100, 50*time.Millisecond, testkit.Quiet
	s, err := d.Dial(t.Context(), "tcp", srv.Listener().Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Send(strings.Repeat("x", 101)); !errors.Is(err, libnet.ErrFrameTooLarge) {
		t.Errorf("MaxMessage: %v", err)
	}
	testkit.MustSend(t, s, "hello")
	testkit.MustReceive(t, s, "hello")
	_, err = s.Receive()
	testkit.WantErr(t, "Receive", err, libnet.ErrIdleTimeout)
}

func TestADialerCanBeUsedAgainAndByManyAtOnce(t *testing.T) {
	srv := tlsEchoServer(t, testkit.ServerTLS(), nil)
	config := testkit.ClientTLS()
	config.ServerName = "" // from the address, without a change to the caller's config
	d := libnet.Dialer{Protocol: testkit.Frames, TLSConfig: config}
	errs := make(chan error)
	for range 10 {
		go func() {
			s, err := d.Dial(t.Context(), "tcp", srv.Listener().Addr().String())
			if err == nil {
				err = s.Close()
			}
			errs <- err
		}()
	}
	for range 10 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if config.ServerName != "" {
		t.Error("the caller's config was changed")
	}
}

func TestADialEndsWithItsContext(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts by its backlog, and never says a word
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	why := errors.New("the user went away")
	for name, test := range map[string]struct {
		ctx  func() (context.Context, context.CancelFunc)
		set  func(*libnet.Dialer)
		want error
	}{
		"cancelled before": {
			func() (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				return ctx, cancel
			},
			func(d *libnet.Dialer) { d.TLSConfig = nil }, context.Canceled,
		},
		"deadline in the handshake": {
			func() (context.Context, context.CancelFunc) {
				return context.WithTimeout(context.Background(), 200*time.Millisecond)
			},
			nil, context.DeadlineExceeded,
		},
		"a reason of the user's in the handshake": {
			func() (context.Context, context.CancelFunc) {
				return context.WithTimeoutCause(context.Background(), 200*time.Millisecond, why)
			},
			nil, why,
		},
		"HandshakeTimeout": {
			func() (context.Context, context.CancelFunc) { return context.WithCancel(context.Background()) },
			func(d *libnet.Dialer) { d.HandshakeTimeout = 50 * time.Millisecond }, libnet.ErrHandshakeTimeout,
		},
	} {
		t.Run(name, func(t *testing.T) {
			libnettest.VerifyNone(t)
			d := libnet.Dialer{Protocol: testkit.Frames, TLSConfig: testkit.ClientTLS()}
			if test.set != nil {
				test.set(&d)
			}
			ctx, cancel := test.ctx()
			defer cancel()
			s, err := d.Dial(ctx, "tcp", silent.Addr().String())
			if s != nil || !errors.Is(err, test.want) {
				t.Errorf("Dial = %v, %v; want %v", s, err, test.want)
			}
		})
	}
}

func TestTheContextOfADialIsNotTheSessions(t *testing.T) {
	srv := tlsEchoServer(t, testkit.ServerTLS(), nil)
	ctx, cancel := context.WithCancel(context.Background())
	d := libnet.Dialer{Protocol: testkit.Frames, TLSConfig: testkit.ClientTLS()}
	s, err := d.Dial(ctx, "tcp", srv.Listener().Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	cancel()
	testkit.MustSend(t, s, "hello")
	testkit.MustReceive(t, s, "hello")
}

// A client may only listen, or only talk: that its server sends nothing is no failed handshake.
func TestHandshakeTimeoutEndsWithDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := libnettest.Pipe()
		defer far.Close()
		d := libnet.Dialer{Protocol: testkit.Frames}
		d.HandshakeTimeout = time.Second
		s, err := d.NewSession(near)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		time.Sleep(time.Minute)
		if err := s.Err(); err != nil {
			t.Error(err)
		}
	})
}

func TestDialAndNewSessionRefuseWhatCannotWork(t *testing.T) {
	libnettest.VerifyNone(t)
	srv := tlsEchoServer(t, nil, nil)
	address := srv.Listener().Addr().String()
	if _, err := new(libnet.Dialer).Dial(t.Context(), "tcp", address); err == nil {
		t.Error("dialled without a protocol")
	}
	d := libnet.Dialer{Protocol: testkit.Frames}
	if _, err := d.Dial(t.Context(), "no network", address); err == nil {
		t.Error("dialled a network that does not exist")
	}
	if _, err := d.NewSession(nil); err == nil {
		t.Error("made a session of nothing")
	}
	near, far := libnettest.Pipe()
	if _, err := new(libnet.Dialer).NewSession(near); err == nil {
		t.Error("made a session without a protocol")
	}
	if _, err := far.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the conn was left open: %v", err)
	}
}

// grpMessageConn is a transport with a framing of its own: a byte of length.
type grpMessageConn struct {
	net.Conn
	wrapped *atomic.Int32
}

type grpShortFrames struct{ libnet.Protocol }

func (c grpMessageConn) WrapProtocol(p libnet.Protocol) libnet.Protocol {
	c.wrapped.Add(1)
	return grpShortFrames{p}
}

func (p grpShortFrames) NewCodec(rw io.ReadWriter) libnet.Codec {
	return testkit.FramingCodec{Codec: p.Protocol.NewCodec(rw), OnAppend: func(dst []byte, msg any) ([]byte, error) {
		text := msg.(string)
		return append(append(dst, 0, 0, 0, byte(len(text)+1), '*'), text...), nil
	}}
}

func TestAMessageConnBringsItsOwnProtocol(t *testing.T) {
	var wrapped atomic.Int32
	srv := testkit.NewServer(t, testkit.Frames, 8)
	var group libnet.Group[int]
	peers := grpJoin(t, &group, srv, 0, 1, testkit.ConnectPipe)
	for i := range 2 {
		near, far := testkit.ConnectPipe(t)
		group.Put(10+i, testkit.Adopt(t, srv, grpMessageConn{near, &wrapped}))
		peers = append(peers, far)
	}
	near, far := testkit.ConnectPipe(t)
	d := libnet.Dialer{Protocol: testkit.Frames}
	dialled, err := d.NewSession(grpMessageConn{near, &wrapped})
	if err != nil {
		t.Fatal(err)
	}
	defer dialled.Close()
	group.Put(20, dialled)
	peers = append(peers, far)
	if result := group.Broadcast("hello"); result.Sent != 4 {
		t.Fatalf("%+v", result)
	}
	for i, want := range []string{"hello", "*hello", "*hello", "*hello"} {
		got := make([]byte, 4+len(want))
		if _, err := io.ReadFull(peers[i], got); err != nil || string(got) != string(testkit.Frame(want)) {
			t.Errorf("member %d: %q, %v; want %q", i, got, err, want)
		}
	}
	if n := wrapped.Load(); n != 3 {
		t.Errorf("asked %d times for a protocol, want once each", n)
	}
}

func TestServeConnRunsAHandlerOnAConnFromElsewhere(t *testing.T) {
	srv := testkit.NewServer(t, testkit.Frames, 64)
	near, far := testkit.ConnectPipe(t)
	served := make(chan error, 1)
	go func() {
		served <- srv.ServeConn(near, libnet.HandlerFunc(func(s *libnet.Session) {
			for i := range 50 {
				_ = s.Send(testkit.Message(1, i, 10))
			}
		}))
	}()
	peer := testkit.Adopt(t, testkit.NewServer(t, testkit.Frames, 0), far)
	for i := range 50 {
		msg, err := peer.Receive()
		if err != nil || string(msg) != string(testkit.Message(1, i, 10)) {
			t.Fatalf("message %d: %q, %v: what the handler had queued is to be delivered", i, msg, err)
		}
	}
	if _, err := peer.Receive(); err != io.EOF {
		t.Error(err)
	}
	if err := testkit.Await(t, testkit.Patience, "ServeConn", served); err != nil {
		t.Error(err)
	}
}

func TestServeConnReportsWhyThereWasNoSession(t *testing.T) {
	never := libnet.HandlerFunc(func(*libnet.Session) { t.Error("the handler ran") })
	refused := errors.New("not you")
	for name, test := range map[string]struct {
		set  func(*libnet.Server)
		want error
	}{
		"stopped":   {func(srv *libnet.Server) { srv.Stop() }, libnet.ErrServerClosed},
		"OnSession": {func(srv *libnet.Server) { srv.OnSession = func(*libnet.Session) error { return refused } }, refused},
	} {
		t.Run(name, func(t *testing.T) {
			srv := testkit.NewServer(t, testkit.Frames, 8)
			test.set(srv)
			near, far := testkit.ConnectPipe(t)
			testkit.WantErr(t, "ServeConn", srv.ServeConn(near, never), test.want)
			if _, err := far.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("the conn was left open: %v", err)
			}
		})
	}
	if err := testkit.NewServer(t, testkit.Frames, 8).ServeConn(nil, never); err == nil {
		t.Error("served nothing")
	}
}

func TestServeConnSurvivesAPanicAndAnEndedGoroutine(t *testing.T) {
	srv := testkit.NewServer(t, testkit.Frames, 8)
	near, far := testkit.ConnectPipe(t)
	if err := srv.ServeConn(near, libnet.HandlerFunc(func(*libnet.Session) { panic("as asked") })); err != nil {
		t.Error(err)
	}
	if _, err := far.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the conn was left open: %v", err)
	}
	if stats := srv.Stats(); stats.Panics != 1 || stats.Closed["panic"] != 1 || stats.Open != 0 {
		t.Errorf("%+v", stats)
	}
}

func TestL8ADialWhoseCodecFailsLeavesNothingOpen(t *testing.T) {
	for name, fail := range map[string]libnet.ProtocolFunc{
		"panics":  func(io.ReadWriter) libnet.Codec { panic("no codec today") },
		"missing": func(io.ReadWriter) libnet.Codec { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			libnettest.VerifyNone(t)
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			d := libnet.Dialer{Protocol: fail}
			d.Logger = testkit.Quiet
			s, err := d.Dial(context.Background(), "tcp", listener.Addr().String())
			if s != nil || !errors.Is(err, libnet.ErrPanic) {
				t.Errorf("Dial = %v, %v; want an error", s, err)
			}
			conn, err := listener.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetReadDeadline(time.Now().Add(testkit.Patience))
			if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("the peer's Read = %v; want io.EOF", err)
			}
		})
	}
}
