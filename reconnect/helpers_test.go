package reconnect_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/reconnect"
)

var frames = codec.New(codec.Uint32BE, codec.Bytes)

// A site is a server that can be stopped and started again, in memory.
type site struct {
	t       testing.TB
	handler libnet.Handler
	dialer  libnet.Dialer

	mu       sync.Mutex
	listener *libnettest.Listener // nil while the site is down
	server   *libnet.Server
}

func newSite(t testing.TB, queue int, handler libnet.HandlerFunc) *site {
	s := &site{t: t, handler: handler, dialer: libnet.Dialer{Protocol: frames}}
	s.dialer.SendQueue = queue
	s.dialer.Logger = quiet
	t.Cleanup(s.down)
	return s
}

var quiet = slog.New(slog.DiscardHandler)

func (s *site) up() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listener = libnettest.NewListener()
	s.server = libnet.NewServer(s.listener, frames, 64)
	s.server.Logger = quiet
	go s.server.Serve(s.handler)
}

func (s *site) down() {
	s.mu.Lock()
	server := s.server
	s.listener, s.server = nil, nil
	s.mu.Unlock()
	if server != nil {
		server.Stop()
	}
}

// dial is a Client's Dial.
func (s *site) dial(context.Context) (*libnet.Session, error) {
	s.mu.Lock()
	listener := s.listener
	s.mu.Unlock()
	if listener == nil {
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: syscall.ECONNREFUSED}
	}
	conn, err := listener.Dial()
	if err != nil {
		return nil, err
	}
	return s.dialer.NewSession(conn)
}

// start starts c with quiet logs and ends it with the test.
func start(t testing.TB, c *reconnect.Client) *reconnect.Client {
	c.Logger = quiet
	c.Start()
	t.Cleanup(func() {
		c.Close()
		<-c.Done()
	})
	return c
}

// gated has c's Dial wait until connect is called, for ever without a Dial: what is sent before is held.
func gated(c *reconnect.Client) (connect func()) {
	dial, gate := c.Dial, make(chan struct{})
	c.Dial = func(ctx context.Context) (*libnet.Session, error) {
		select {
		case <-gate:
			return dial(ctx)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return sync.OnceFunc(func() { close(gate) })
}

// startGated is gated, and start.
func startGated(t testing.TB, c *reconnect.Client) (connect func()) {
	connect = gated(c)
	start(t, c)
	return connect
}

func inBubble(t *testing.T, test func(t *testing.T)) { synctest.Test(t, test) }

func send(t testing.TB, c *reconnect.Client, msg any) {
	t.Helper()
	if err := c.Send(msg); err != nil {
		t.Fatalf("Send: %v", err)
	}
}

func numbered(i int) string { return fmt.Sprint("message ", i) }

// recorder is a handler that keeps what its sessions receive.
type recorder struct {
	mu       sync.Mutex
	messages []string
}

func (r *recorder) ServeSession(s *libnet.Session) {
	for {
		msg, err := s.Receive()
		if err != nil {
			return
		}
		r.mu.Lock()
		r.messages = append(r.messages, string(msg))
		r.mu.Unlock()
	}
}

func (r *recorder) received() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.messages...)
}
