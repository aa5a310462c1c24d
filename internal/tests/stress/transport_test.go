package stress

import (
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
)

const serverEnd, clientEnd = "server", "client"

func (r *round) network() string {
	switch r.Transport {
	case "tcp", "unix", "tls":
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
		conn := r.dial()
		d := &libnet.Dialer{Protocol: r.protocol()}
		r.configure(&d.Config)
		d.SendQueue, d.Logger = r.Queue, testkit.Quiet
		c, err := d.NewSession(conn)
		if err != nil {
			r.t.Fatal(err)
		}
		s := testkit.Await(r.t, testkit.Patience, "the session", r.sessions)
		client, server := newEnd(r.t, clientEnd, c), newEnd(r.t, serverEnd, s)
		client.peer, server.peer = server, client
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
		s.State = <-known
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
			_ = admit(s)
			defer s.Close()
			defer func() { _ = recover() }() // of a plan in which the handler panics
			s.State.(*receiving).receiveAll()
		})
	}
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
	if r.Transport != "tls" {
		return conn
	}
	secured := tls.Client(conn, testkit.AnyTLS())
	r.busy.Go(func() { _ = secured.Handshake() }) // a server may do its part when it first reads, or before OnSession
	return secured
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
