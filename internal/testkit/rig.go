package testkit

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/libnettest"
)

// A Rig is a server that runs a handler, and the means to reach it.
type Rig struct {
	*libnet.Server
	TB       testing.TB
	Pipes    *libnettest.Listener // nil on a real network
	Faults   *libnettest.Faults   // of the server's ends of pipes; nil: none
	Sessions chan *libnet.Session // each session, before its handler gets it
	Logs     *Log

	Network   string
	deadline  time.Duration // for what a client does; 0: none
	handshake bool          // Dial does the TLS handshake, too
	served    chan error
}

// Serve starts a server on "pipe" (at home in synctest bubbles), "tcp" or "tls". When the test ends
// it stops the server and checks that its counters balance: no session is open and each that was made has
// been closed for one reason.
func Serve(t testing.TB, network string, configure func(*libnet.Server), h libnet.HandlerFunc) *Rig {
	t.Helper()
	return startRig(t, network, Frames64K, 0, configure, h)
}

// ServeWith is Serve on pipes with another protocol, and a queue.
func ServeWith(t testing.TB, p libnet.Protocol, configure func(*libnet.Server), h libnet.HandlerFunc) *Rig {
	t.Helper()
	return startRig(t, "pipe", p, 8, configure, h)
}

func startRig(t testing.TB, network string, p libnet.Protocol, queue int, configure func(*libnet.Server), h libnet.HandlerFunc) *Rig {
	t.Helper()
	r := newRig(t, network, Listen(t, network), p, queue)
	r.Logger = slog.New(r.Logs)
	if configure != nil {
		configure(r.Server)
	}
	go func() {
		r.served <- r.Server.Serve(libnet.HandlerFunc(func(s *libnet.Session) {
			select {
			case r.Sessions <- s:
			default: // nobody asks for so many
			}
			h(s)
		}))
	}()
	t.Cleanup(func() {
		r.stop()
		r.checkCounters()
	})
	return r
}

func newRig(t testing.TB, network string, l net.Listener, p libnet.Protocol, queue int) *Rig {
	r := &Rig{TB: t, Network: network, Logs: &Log{}, Sessions: make(chan *libnet.Session, 1<<14), served: make(chan error, 1)}
	r.Pipes, _ = l.(*libnettest.Listener)
	r.Server = libnet.NewServer(l, Spoken(network, p), queue)
	if HasTLS(network) {
		r.TLSConfig = ServerTLS()
	}
	return r
}

// Listen listens on "tcp", "unix" or "pipe"; on TCP for any other.
func Listen(t testing.TB, network string) (l net.Listener) {
	t.Helper()
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
	return l
}

func (r *Rig) stop() {
	r.TB.Helper()
	r.Stop()
	if err := Await(r.TB, 2*Patience, "the end of Serve", r.served); !errors.Is(err, libnet.ErrServerClosed) {
		r.TB.Errorf("serving ended with %v, want ErrServerClosed", err)
	}
}

func (r *Rig) checkCounters() {
	r.TB.Helper()
	if !r.balanced() {
		stats := r.Stats()
		r.TB.Errorf("after Stop: %d open, %d in the manager; %d accepted, closed for a reason: %v",
			stats.Open, r.Manager().Len(), stats.Accepted, stats.Closed)
	}
}

// balanced reports whether no session is open and each that was accepted has been closed for one reason.
func (r *Rig) balanced() bool {
	stats, closed := r.Stats(), uint64(0)
	for _, n := range stats.Closed {
		closed += n
	}
	return stats.Open == 0 && r.Manager().Len() == 0 && closed == stats.Accepted
}

// Dial returns a client's connection, which the test's end closes.
func (r *Rig) Dial() net.Conn {
	r.TB.Helper()
	conn, err := r.Connect()
	if err != nil {
		r.TB.Fatal(err)
	}
	r.TB.Cleanup(func() { _ = conn.Close() })
	return conn
}

// Connect returns a client's connection, which is the caller's to close.
func (r *Rig) Connect() (net.Conn, error) {
	conn, err := r.connect()
	if err != nil {
		return nil, err
	}
	if r.deadline > 0 {
		_ = conn.SetDeadline(time.Now().Add(r.deadline))
	}
	if r.Network == "tls" && !r.handshake { // the first use is the handshake, as on the other side
		return tls.Client(conn, AnyTLS()), nil
	}
	return begin(conn, r.Network)
}

// DialMany returns the connections of n clients.
func (r *Rig) DialMany(n int) []net.Conn {
	r.TB.Helper()
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = r.Dial()
	}
	return conns
}

func (r *Rig) connect() (net.Conn, error) {
	if r.Faults != nil {
		client, server := libnettest.Pipe()
		r.Pipes.Push(r.Faults.Wrap(server), nil)
		return client, nil
	}
	return connect(r.Listener())
}

// Dial returns a client's connection to what listens on a network, which is the caller's to close.
func Dial(l net.Listener, network string) (net.Conn, error) {
	conn, err := connect(l)
	if err != nil {
		return nil, err
	}
	return begin(conn, network)
}

func connect(l net.Listener) (net.Conn, error) {
	if pipes, ok := l.(*libnettest.Listener); ok {
		return pipes.Dial()
	}
	return net.Dial(l.Addr().Network(), l.Addr().String())
}

// begin does a client's part of what comes before the first message. With an error it has closed conn.
func begin(conn net.Conn, network string) (net.Conn, error) {
	if HasTLS(network) {
		secured := tls.Client(conn, AnyTLS())
		if err := secured.Handshake(); err != nil {
			_ = conn.Close()
			return nil, err
		}
		conn = secured
	}
	if IsWeb(network) {
		return Upgrade(conn)
	}
	return conn, nil
}

// Open dials and returns both ends.
func (r *Rig) Open() (net.Conn, *libnet.Session) {
	r.TB.Helper()
	conn := r.Dial()
	return conn, Await(r.TB, 2*Patience, "the session", r.Sessions)
}

// WantClosed waits for the session's end and checks its reason wherever it is told.
func (r *Rig) WantClosed(s *libnet.Session, reason error) {
	r.TB.Helper()
	Await(r.TB, 2*Patience, "the session's end", s.Done())
	if !errors.Is(s.Err(), reason) {
		r.TB.Errorf("the session ended with %v, want %v", s.Err(), reason)
	}
	name := libnet.CloseReason(reason)
	Eventually(r.TB, "the counters to name the reason "+name, func() bool { return r.Stats().Closed[name] > 0 })
}
