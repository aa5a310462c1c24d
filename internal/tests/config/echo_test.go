package config

import (
	"context"
	"crypto/tls"
	"net"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

// setting is what a row sets: for both ends, but for the limits of a server.
type setting struct {
	libnet.Config
	maxSessions, maxPerIP int
	proxies               libnet.ProxyProtocol
	protocol              libnet.Protocol
	message               []byte
	beats                 *atomic.Int64
}

func (s *setting) beat(*libnet.Session) any {
	s.beats.Add(1)
	return []byte("beat")
}

// A mode is a way to serve, and what over.
type mode struct {
	name    string
	network string
	secure  bool
	event   bool
}

var modes = []mode{
	{"Serve", "tcp", false, false},
	{"ServeMessages", "tcp", false, true},
	{"Unix", "unix", false, true},
	{"TLS", "tcp", true, false},
	{"Pipe", "pipe", false, false},
}

// echo serves with what set sets, has one message echoed, waits a while, and shuts both ends down.
func (m mode) echo(t *testing.T, set func(*setting), reasons []string) {
	s := setting{protocol: testkit.Frames, message: []byte("x"), beats: new(atomic.Int64)}
	s.SendQueue = 16
	set(&s)
	s.Logger = testkit.Quiet
	srv := libnet.NewServer(m.listen(t), s.protocol, 16)
	srv.Config, srv.MaxSessions, srv.MaxSessionsPerIP = s.Config, s.maxSessions, s.maxPerIP
	srv.ProxyProtocol = s.proxies
	if m.secure {
		srv.TLSConfig = testkit.ServerTLS()
	}
	served := make(chan error, 1)
	go func() { served <- m.serve(srv) }()
	begun := time.Now()
	c, err := m.dial(t, srv, &s)
	if err == nil {
		err = ask(t, c, s.message)
	}
	if err == nil {
		waitsQuietly(t, &s, begun)
	}
	shutDown(t, srv, c)
	testkit.Within(t, testkit.Patience, "the end of serving", func() { <-served })
	stats := srv.Stats()
	if err != nil && !refused(err) && !saidWhy(stats, err, reasons) {
		t.Errorf("no echo but %v, and it is not said why: %+v", err, stats)
	}
	if closed := stats.Closed; stats.Open != 0 || err == nil && len(closed) != 1 {
		t.Errorf("the counters do not balance: %+v", stats)
	}
}

func shutDown(t *testing.T, srv *libnet.Server, c *libnet.Session) {
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience/2)
	defer cancel()
	testkit.Within(t, testkit.Patience, "Shutdown", func() {
		if c != nil {
			go c.Shutdown(ctx)
		}
		if err := srv.Shutdown(ctx); err != nil && ctx.Err() != nil {
			t.Errorf("Shutdown took all of its time: %v", err)
		}
	})
}

// A refusal is Send's: nothing was sent, and the caller knows.
type refusal struct{ error }

func refused(err error) bool {
	_, is := err.(refusal)
	return is
}

// saidWhy reports whether one of the ends has ended for one of the reasons.
func saidWhy(stats libnet.ServerStats, err error, reasons []string) bool {
	return slices.ContainsFunc(reasons, func(reason string) bool {
		return stats.Closed[reason] > 0 || libnet.CloseReason(err) == reason
	})
}

func (m mode) dial(t *testing.T, srv *libnet.Server, s *setting) (*libnet.Session, error) {
	config := s.Config
	config.Heartbeat = libnet.Heartbeat{} // which would hide that the server's does not come
	c, err := (&libnet.Dialer{Config: config, Protocol: s.protocol}).NewSession(m.connect(t, srv))
	if err == nil {
		t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

// ask has a message echoed.
func ask(t *testing.T, c *libnet.Session, message []byte) error {
	answered := make(chan error, 1)
	if err := c.Send(message); err != nil {
		return refusal{err}
	}
	go func() {
		for {
			msg, err := c.Receive()
			if err != nil || string(msg) != "beat" && len(msg) == len(message) {
				answered <- err
				return
			}
		}
	}()
	select {
	case err := <-answered:
		return err
	case <-time.After(testkit.Patience):
		t.Error("neither an echo nor an end")
		return c.Close()
	}
}

// waitsQuietly fails the test if heartbeats come more often than once in a millisecond, or if the process is busy while
// nothing happens. Others use the processor, too: so one quiet look of a few will do.
func waitsQuietly(t *testing.T, s *setting, begun time.Time) {
	const look = 5 * time.Millisecond
	var busy, took time.Duration
	for range 5 {
		before, looking := cpu(t), time.Now()
		time.Sleep(look) // longer on a busy machine
		busy, took = cpu(t)-before, time.Since(looking)
		if busy < took/2 {
			break
		}
	}
	if busy >= took/2 {
		t.Errorf("%v of processor time in %v of silence", busy, took)
	}
	if beats, most := s.beats.Load(), time.Since(begun)/time.Millisecond+2; beats > int64(most) {
		t.Errorf("%d heartbeats in %d ms", beats, most)
	}
}

func (m mode) listen(t *testing.T) net.Listener {
	t.Helper()
	address := "127.0.0.1:0"
	switch m.network {
	case "pipe":
		return libnettest.NewListener()
	case "unix":
		address = filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(m.network, address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (m mode) serve(srv *libnet.Server) error {
	if m.event {
		return srv.ServeMessages(libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) { _ = s.Send(msg) }))
	}
	return srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
		for {
			msg, err := s.Receive()
			if err != nil {
				return
			}
			_ = s.Send(msg)
		}
	}))
}

func (m mode) connect(t *testing.T, srv *libnet.Server) (conn net.Conn) {
	t.Helper()
	var err error
	switch l := srv.Listener().(type) {
	case *libnettest.Listener:
		conn, err = l.Dial()
	default:
		conn, err = net.Dial(l.Addr().Network(), l.Addr().String())
	}
	if err != nil {
		t.Fatal(err)
	}
	if srv.ProxyProtocol.TrustUnix {
		_, _ = conn.Write([]byte("PROXY UNKNOWN\r\n"))
	}
	if m.secure {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	return conn
}
