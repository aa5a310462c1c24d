package resume_test

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/reconnect"
	"github.com/libnet-go/libnet/resume"
	"github.com/libnet-go/libnet/ws"
)

var protocol = codec.New(codec.Uint32BE, resume.Frames)

func configure(c *libnet.Config) {
	c.SendQueue = 256
	c.Logger = testkit.Quiet
	c.PoisonMessages = true
}

// A site is where sessions are served.
type site struct {
	network, addr string
	dial          func(ctx context.Context, addr string) (*libnet.Session, error)
}

func dialer() *libnet.Dialer {
	d := &libnet.Dialer{Protocol: protocol}
	configure(&d.Config)
	return d
}

func dialTCP(ctx context.Context, addr string) (*libnet.Session, error) {
	return dialer().Dial(ctx, "tcp", addr)
}

func dialWeb(ctx context.Context, addr string) (*libnet.Session, error) {
	return ws.Dial(ctx, "ws://"+addr, dialer(), nil)
}

// sites are the ways to serve, by name. Each stops what it began with the test.
var sites = map[string]func(t testing.TB, h *resume.Server) site{
	"TCP, Serve": func(t testing.TB, h *resume.Server) site {
		srv := newServer(t)
		go func() { _ = srv.Serve(h) }()
		return site{"tcp", srv.Listener().Addr().String(), dialTCP}
	},
	"TCP, ServeMessages": func(t testing.TB, h *resume.Server) site {
		srv := newServer(t)
		go func() { _ = srv.ServeMessages(h) }()
		return site{"tcp", srv.Listener().Addr().String(), dialTCP}
	},
	"WebSocket, Serve": func(t testing.TB, h *resume.Server) site {
		return serveWeb(t, func(srv *libnet.Server) http.Handler { return ws.Handler(srv, h, nil) })
	},
	"WebSocket, ServeMessages": func(t testing.TB, h *resume.Server) site {
		return serveWeb(t, func(srv *libnet.Server) http.Handler { return ws.MessageHandler(srv, h, nil) })
	},
}

// secureSites are those over TLS.
var secureSites = map[string]func(t testing.TB, h *resume.Server) site{
	"TLS, Serve": func(t testing.TB, h *resume.Server) site {
		return serveTLS(t, protocol, dialTLS, func(srv *libnet.Server) { _ = srv.Serve(h) })
	},
	"TLS, ServeMessages": func(t testing.TB, h *resume.Server) site {
		return serveTLS(t, protocol, dialTLS, func(srv *libnet.Server) { _ = srv.ServeMessages(h) })
	},
	"WSS, Serve": func(t testing.TB, h *resume.Server) site {
		return serveTLS(t, ws.Protocol(protocol, nil), dialSecureWeb, func(srv *libnet.Server) { _ = srv.Serve(h) })
	},
	"WSS, ServeMessages": func(t testing.TB, h *resume.Server) site {
		return serveTLS(t, ws.Protocol(protocol, nil), dialSecureWeb, func(srv *libnet.Server) { _ = srv.ServeMessages(h) })
	},
}

func serveTLS(t testing.TB, p libnet.Protocol, dial func(context.Context, string) (*libnet.Session, error), serve func(*libnet.Server)) site {
	srv := libnet.NewServer(testkit.Listen(t, "tcp"), p, 0)
	configure(&srv.Config)
	srv.TLSConfig = testkit.ServerTLS()
	t.Cleanup(srv.Stop)
	go serve(srv)
	return site{"tcp", srv.Listener().Addr().String(), dial}
}

func dialTLS(ctx context.Context, addr string) (*libnet.Session, error) {
	d := dialer()
	d.TLSConfig = &tls.Config{InsecureSkipVerify: true}
	return d.Dial(ctx, "tcp", addr)
}

func dialSecureWeb(ctx context.Context, addr string) (*libnet.Session, error) {
	d := dialer()
	d.TLSConfig = &tls.Config{InsecureSkipVerify: true}
	return ws.Dial(ctx, "wss://"+addr, d, nil)
}

func newServer(t testing.TB) *libnet.Server {
	srv := libnet.NewServer(testkit.Listen(t, "tcp"), protocol, 0)
	configure(&srv.Config)
	t.Cleanup(srv.Stop)
	return srv
}

func serveWeb(t testing.TB, handler func(*libnet.Server) http.Handler) site {
	srv := libnet.NewServer(libnettest.NewListener(), protocol, 0)
	configure(&srv.Config)
	web := httptest.NewServer(handler(srv))
	t.Cleanup(func() { srv.Stop(); web.Close() })
	return site{"tcp", web.Listener.Addr().String(), dialWeb}
}

// over is a reconnect.Client that comes back at once.
func (p site) over(addr string) *reconnect.Client {
	return &reconnect.Client{
		Dial:       func(ctx context.Context) (*libnet.Session, error) { return p.dial(ctx, addr) },
		MinBackoff: time.Millisecond,
		MaxBackoff: 10 * time.Millisecond,
		Logger:     testkit.Quiet,
	}
}

// wantEnd waits for a session's end, and checks count and reason, unless that is nil.
func wantEnd(t testing.TB, s *resume.Session, reason error, unacknowledged uint64) {
	t.Helper()
	testkit.Await(t, testkit.Patience, "the end", s.Done())
	var end *resume.Error
	if !errors.As(s.Err(), &end) || reason != nil && !errors.Is(s.Err(), reason) || end.Unacknowledged != unacknowledged {
		t.Errorf("ended with %v; want %v and %d not acknowledged", s.Err(), reason, unacknowledged)
	}
	if stats := s.Stats(); stats.Accepted != stats.Acknowledged+end.Unacknowledged {
		t.Errorf("%+v, %d not acknowledged", stats, end.Unacknowledged)
	}
}

func readFrame(r io.Reader, buf []byte) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	frame := append(buf[:0], make([]byte, binary.BigEndian.Uint32(head[:]))...)
	_, err := io.ReadFull(r, frame)
	return frame, err
}
