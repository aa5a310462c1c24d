package cluster_test

import (
	"net"
	"sync"
	"testing"
)

// A proxy is a piece of network between two servers that can be broken.
type proxy struct {
	listener net.Listener
	target   string
	running  sync.WaitGroup

	mu sync.Mutex
	// mu guards the following.
	flows chan struct{} // closed while bytes flow; a new one while they do not
	conns map[net.Conn]bool
	cut   bool // new connections end at once
}

func newProxy(tb testing.TB, target string) *proxy {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &proxy{listener: listener, target: target, flows: make(chan struct{}), conns: make(map[net.Conn]bool)}
	close(p.flows)
	p.running.Go(p.accept)
	tb.Cleanup(p.close)
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			conn.Close()
			continue
		}
		if !p.add(conn, server) {
			conn.Close()
			server.Close()
			continue
		}
		p.running.Go(func() { p.copy(conn, server) })
		p.running.Go(func() { p.copy(server, conn) })
	}
}

func (p *proxy) add(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.conns[c] = true
	}
	return !p.cut
}

func (p *proxy) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		flows := p.flows
		p.mu.Unlock()
		<-flows
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// blackhole lets no byte through in either direction and tells nobody, until heal.
func (p *proxy) blackhole() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flows = make(chan struct{})
}

func (p *proxy) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.healLocked()
}

func (p *proxy) healLocked() {
	p.cut = false
	select {
	case <-p.flows:
	default:
		close(p.flows)
	}
}

// sever closes all connections and, until heal, new ones.
func (p *proxy) sever() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.severLocked()
}

func (p *proxy) severLocked() {
	p.cut = true
	for c := range p.conns {
		c.Close()
		delete(p.conns, c)
	}
}

func (p *proxy) close() {
	p.listener.Close()
	p.mu.Lock()
	p.healLocked()
	p.severLocked()
	p.mu.Unlock()
	p.running.Wait()
}
