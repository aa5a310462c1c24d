package stress

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/ws"
)

const serverEnd, clientEnd = "server", "client"

func (r *round) network() string {
	switch r.Transport {
	case "tcp", "unix", "tls", "ws", "wss":
		return r.Transport
	}
	return "pipe"
}

// connectAll begins to serve, and opens the round's connections.
func (r *round) connectAll() {
	r.srv.OnSession = func(s *libnet.Session) error { return nil }
	known := make(chan *receiving)
	r.startServing(known)
	for i := range r.Conns {
		d := &libnet.Dialer{Protocol: r.protocol()}
		r.configure(&d.Config)
		d.SendQueue, d.Logger = r.Queue, testkit.Quiet
		c, conn, err := r.connect(d)
		if err != nil {
			r.t.Fatal(err)
		}
		s := testkit.Await(r.t, testkit.Patience, "the session", r.sessions)
		client, server := newEnd(r.t, clientEnd, c), newEnd(r.t, serverEnd, s)
		client.peer, server.peer = server, client
		client.web, server.web = r.overWeb(), r.overWeb()
		r.clients, r.servers, r.conns = append(r.clients, client), append(r.servers, server), append(r.conns, conn)
		r.group.Put(i, s)
		r.busy.Go(r.receiving(client).receiveAll)
		known <- r.receiving(server)
	}
}

// startServing has what receives a session's messages wait until its end is known.
func (r *round) startServing(known <-chan *receiving) {
	admit := func(s *libnet.Session) error {
		r.sessions <- s
		rec := <-known
		s.State = rec
		r.beating.Store(s, rec)
		return nil
	}
	switch r.Mode {
	case "ServeMessages":
		r.srv.OnSession = admit
		go func() {
			r.served <- r.srv.ServeMessages(libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) {
				s.State.(*receiving).message(msg)
			}))
		}()
	case "Serve":
		r.srv.OnSession = admit
		go func() {
			r.served <- r.srv.Serve(libnet.HandlerFunc(func(s *libnet.Session) { s.State.(*receiving).receiveAll() }))
		}()
	case "Accept":
		go func() { r.served <- r.acceptAll(admit) }()
	}
}

// acceptAll is a server's loop as users write it.
func (r *round) acceptAll(admit func(*libnet.Session) error) error {
	for {
		s, err := r.srv.Accept()
		if err != nil { // io.EOF, as the original libnet's
			return libnet.ErrServerClosed
		}
		r.busy.Go(func() {
			if r.overWeb() {
				_ = ws.Request(s) // which does the handshake, as whatever first uses the session
			}
			_ = admit(s)
			defer s.Close()
			defer func() { _ = recover() }() // of a plan in which the handler panics
			s.State.(*receiving).receiveAll()
		})
	}
}

// connect makes a client's session.
func (r *round) connect(d *libnet.Dialer) (*libnet.Session, clientConn, error) {
	if !r.overWeb() || !r.Dialled {
		conn := r.dial()
		s, err := d.NewSession(conn)
		return s, clientConn{conn}, err
	}
	d.TLSConfig = testkit.AnyTLS()
	s, err := ws.Dial(context.Background(), r.Transport+"://"+r.listener.Addr().String(), d, nil)
	return s, clientConn{}, err
}

// dial returns the client's end of a connection.
func (r *round) dial() net.Conn {
	if pipes, ok := r.listener.(*libnettest.Listener); ok {
		client, server := r.pipe()
		pipes.Push(server, nil)
		return client
	}
	addr := r.listener.Addr()
	conn, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		r.t.Fatal(err)
	}
	if r.Transport == "tcp" || r.Transport == "unix" {
		return conn
	}
	if r.overWeb() {
		return r.upgrade(conn)
	}
	secured := tls.Client(conn, testkit.AnyTLS())
	r.busy.Go(func() { _ = secured.Handshake() }) // a server may do its part when it first reads, or before OnSession
	return secured
}

// upgrade makes a WebSocket of a connection, on which a session may send as on any other.
func (r *round) upgrade(conn net.Conn) net.Conn {
	if r.Transport == "wss" {
		conn = tls.Client(conn, testkit.AnyTLS())
	}
	web, err := testkit.Upgrade(conn)
	if err != nil {
		r.t.Fatal(err)
	}
	return webConn{web, web.(*testkit.WebConn)}
}

// A webConn does not say what it runs on, so its session does not take it for one of TLS.
type webConn struct {
	net.Conn
	web *testkit.WebConn
}

func (c webConn) CloseWrite() error { return c.web.CloseWrite() }

// A clientConn is what a peer can do to a connection beneath its session; nothing without one.
type clientConn struct{ net.Conn }

func (c clientConn) Close() {
	if c.Conn != nil {
		_ = c.Conn.Close()
	}
}

func (c clientConn) halfClose() {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

func (c clientConn) reset() {
	socket := c.Conn
	if web, ok := socket.(webConn); ok {
		socket = testkit.Socket(web.web)
	}
	if tcp, ok := socket.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
		_ = tcp.Close()
	}
	c.Close()
}

func (r *round) pipe() (client, server net.Conn) {
	switch client, server = libnettest.Pipe(); r.Transport {
	case "small pipe":
		return libnettest.PipeSize(64)
	case "net.Pipe":
		return net.Pipe()
	case "short":
		return client, &oddConn{Conn: server, most: 1 + int(r.Seed%1000)}
	case "refusing":
		odd := &oddConn{Conn: server, most: 1 << 20}
		odd.left.Store(int64(r.Seed % 50))
		odd.refuses = true
		return client, odd
	case "hanging":
		if r.Seed%2 == 0 {
			return r.hang(client), server
		}
		return client, r.hang(server)
	}
	return client, server
}

// An oddConn writes no more than so many bytes at a time, without an error, or refuses to write at all from some write
// on. It has no more methods than it must.
type oddConn struct {
	net.Conn
	most    int
	refuses bool
	left    atomic.Int64 // writes
}

var errRefused = errors.New("the connection refuses")

func (c *oddConn) Write(p []byte) (int, error) {
	if c.refuses && c.left.Add(-1) < 0 {
		return 0, errRefused
	}
	return c.Conn.Write(p[:min(len(p), c.most)])
}

// A hangingConn has one of its writes hang for a while, whatever deadline it has and whoever closes it, and perhaps its
// Close. What was closed meanwhile is not written.
type hangingConn struct {
	net.Conn
	hangs    time.Duration
	left     atomic.Int64 // writes before that
	inClose  bool
	isClosed atomic.Bool
}

func (r *round) hang(conn net.Conn) net.Conn {
	c := &hangingConn{Conn: conn, hangs: r.Hang, inClose: r.Seed%3 == 0}
	c.left.Store(int64(r.Seed % 50))
	return c
}

func (c *hangingConn) Write(p []byte) (int, error) {
	if c.left.Add(-1) == 0 {
		time.Sleep(c.hangs)
	}
	if c.isClosed.Load() {
		return 0, net.ErrClosed
	}
	return c.Conn.Write(p)
}

func (c *hangingConn) Close() error {
	if !c.isClosed.Swap(true) && c.inClose {
		time.Sleep(c.hangs)
	}
	return c.Conn.Close()
}
