package libnettest

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/lock"
)

// dialPatience is how long a dial and the session's admission may take.
const dialPatience = 10 * time.Second

// Clients dial a server that a test runs: see [Serve].
type Clients struct {
	t   testing.TB
	srv *libnet.Server

	mayLose  atomic.Bool
	handlers atomic.Int64 // at work

	mu lock.Mutex[clientsLock]
	// mu guards the following.
	dialled  int
	sessions []*libnet.Session               // the clients'
	served   []*libnet.Session               // the server's
	admitted map[string]chan *libnet.Session // by the client's address
}

// Serve has srv serve h for as long as the test runs, and returns what dials it. A srv made on [NewListener] is dialled
// in memory, which is at home in a [testing/synctest] bubble; any other at its listener's address.
//
//	srv := libnet.NewServer(libnettest.NewListener(), protocol, 64)
//	client := libnettest.Serve(t, srv, handler).Dial()
//
// When the test ends, the clients that are left are shut down, and then srv. The test fails for what is lost or left: a
// message that Send took, a client's or the server's, and that was not written, unless the peer ended the session; a
// panic; a handler that has not returned within 2 s; an error with which serving ended. [Clients.MayLose] is for tests
// that are about the first two. What arrived and was not received is noted in the test's log.
//
// Serve sets srv's PoisonMessages, and so finds handlers that keep a message. It must not be called for a srv that
// serves already.
func Serve(t testing.TB, srv *libnet.Server, h libnet.Handler) *Clients {
	t.Helper()
	if h == nil {
		t.Fatal("libnettest: Serve without a handler")
	}
	return serve(t, srv, func(c *Clients) error { return srv.Serve(countedHandler{c, h}) })
}

// ServeMessages is [Serve] in event mode, which has a goroutine a session in memory, and none over sockets on Linux. A
// mux.Mux is a handler for both.
func ServeMessages(t testing.TB, srv *libnet.Server, h libnet.MessageHandler) *Clients {
	t.Helper()
	if h == nil {
		t.Fatal("libnettest: ServeMessages without a handler")
	}
	return serve(t, srv, func(c *Clients) error { return srv.ServeMessages(countedMessages{c, h}) })
}

func serve(t testing.TB, srv *libnet.Server, run func(*Clients) error) *Clients {
	t.Helper()
	c := &Clients{t: t, srv: srv, admitted: make(map[string]chan *libnet.Session)}
	srv.PoisonMessages = true
	admit := srv.OnSession
	srv.OnSession = func(s *libnet.Session) error {
		c.admit(s)
		if admit == nil {
			return nil
		}
		return admit(s)
	}
	served := make(chan error, 1)
	go func() { served <- run(c) }()
	t.Cleanup(func() {
		t.Helper()
		c.end(served)
	})
	return c
}

// MayLose has the end of the test not complain of lost messages and of panics.
func (c *Clients) MayLose() { c.mayLose.Store(true) }

// Dial returns a client's session, of the server's protocol and with a queue of 64 messages, which is closed with the
// test. It ends the test where that cannot be. With srv.TLSConfig set it speaks TLS, and takes any certificate. A
// server of ws.Protocol is dialled by [Clients.DialConn] or ws.Dial.
func (c *Clients) Dial() *libnet.Session {
	c.t.Helper()
	s, _ := c.dial(&libnet.Dialer{Config: libnet.Config{SendQueue: 64, PoisonMessages: true}, Protocol: c.srv.Protocol()})
	return s
}

// DialWith is [Clients.Dial] with what d says: its Protocol, Config and TLSConfig. Its NetDialer is not used.
func (c *Clients) DialWith(d *libnet.Dialer) *libnet.Session {
	c.t.Helper()
	s, _ := c.dial(d)
	return s
}

// Pair is [Clients.Dial] that returns the server's session as well, as soon as the server's OnSession is called with
// it. In a test the server's session may be looked at, sent to and closed; it is its handler's to receive from it.
func (c *Clients) Pair() (client, server *libnet.Session) {
	c.t.Helper()
	if c.srv.Listener().Addr().Network() == "unix" {
		c.t.Fatal("libnettest: Pair over a Unix socket, whose clients have no addresses that tell them apart")
	}
	client, from := c.dial(&libnet.Dialer{Config: libnet.Config{SendQueue: 64, PoisonMessages: true}, Protocol: c.srv.Protocol()})
	timer := time.NewTimer(dialPatience)
	defer timer.Stop()
	select {
	case server = <-c.admission(from):
	case <-timer.C:
		c.t.Fatalf("libnettest: no session of it within %v; the server has refused %d connections", dialPatience, c.srv.Stats().Rejected)
	}
	return client, server
}

// DialConn returns a connection to the server on which nothing was said yet, TLS neither: for what no session would
// send. It is closed with the test.
func (c *Clients) DialConn() net.Conn {
	c.t.Helper()
	conn, err := c.connect()
	if err != nil {
		c.t.Fatalf("libnettest: dial: %v", err)
	}
	c.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// dial returns the session and its address.
func (c *Clients) dial(d *libnet.Dialer) (s *libnet.Session, from string) {
	c.t.Helper()
	conn, err := c.connect()
	if err != nil {
		c.t.Fatalf("libnettest: dial: %v", err)
	}
	from = conn.LocalAddr().String()
	if conn, err = c.secure(conn, d.TLSConfig); err == nil {
		s, err = d.NewSession(conn)
	}
	if err != nil {
		c.t.Fatalf("libnettest: dial: %v", err)
	}
	c.mu.Lock()
	c.sessions = append(c.sessions, s)
	c.mu.Unlock()
	return s, from
}

func (c *Clients) connect() (net.Conn, error) {
	l, inMemory := c.srv.Listener().(*Listener)
	if !inMemory {
		addr := c.srv.Listener().Addr()
		return net.DialTimeout(addr.Network(), addr.String(), dialPatience)
	}
	c.mu.Lock()
	c.dialled++
	from := clientAddr(fmt.Sprint("client ", c.dialled))
	c.mu.Unlock()
	return l.DialFrom(from)
}

// clientAddr tells a client in memory from others.
type clientAddr string

func (clientAddr) Network() string  { return "pipe" }
func (a clientAddr) String() string { return string(a) }

// secure does the handshake of TLS, where the server speaks that.
func (c *Clients) secure(conn net.Conn, config *tls.Config) (net.Conn, error) {
	if c.srv.TLSConfig == nil {
		return conn, nil
	}
	if config == nil {
		config = &tls.Config{InsecureSkipVerify: true}
	}
	ctx, cancel := context.WithTimeout(context.Background(), dialPatience)
	defer cancel()
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secured, nil
}

// admit notes a session of the server's, and tells Pair of it.
func (c *Clients) admit(s *libnet.Session) {
	c.mu.Lock()
	c.served = append(c.served, s)
	c.mu.Unlock()
	if addr := s.RemoteAddr(); addr != nil {
		select {
		case c.admission(addr.String()) <- s:
		default: // of a Unix socket, whose clients have no address
		}
	}
}

func (c *Clients) admission(from string) chan *libnet.Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.admitted[from] == nil {
		c.admitted[from] = make(chan *libnet.Session, 1)
	}
	return c.admitted[from]
}
