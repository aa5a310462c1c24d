package libnettest

import (
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet/internal/lock"
)

// Chaos says what a [Proxy] does to connections. Zero means the default, a negative number none.
type Chaos struct {
	// Seed decides at which bytes of its n-th connection what happens. When that is depends on the peers and the
	// machine.
	Seed uint64

	// Every is how many bytes pass between two faults of one direction of a connection, on average: each number up to
	// twice as many is as likely. Default 64 KiB. Negative: there are no faults.
	Every int

	// Stall is the longest time for which a direction stops, and goes on; default 20 ms. Negative: it never does.
	Stall time.Duration
}

const (
	defaultChaosEvery = 64 << 10
	defaultChaosStall = 20 * time.Millisecond
)

// A Proxy stands between clients and a server, and treats their connections as a bad network does. At a random byte of
// either direction it stalls; or it ends the connection, having delivered what came before that byte of what one write
// had sent: in order, for one peer a moment before the other, or by a reset, which also loses what is on its way in the
// other direction.
type Proxy struct {
	network, target string
	chaos           Chaos
	listener        net.Listener
	running         sync.WaitGroup

	cuts, stalls, connections atomic.Uint64

	mu lock.Mutex[proxyLock]
	// mu guards the following.
	open   map[*proxied]bool
	closed bool
}

// NewProxy listens on a free port of 127.0.0.1 (network "tcp"), and connects each client to target. It ends with the
// test.
func NewProxy(t testing.TB, network, target string, chaos Chaos) *Proxy {
	t.Helper()
	l, err := net.Listen(network, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{network: network, target: target, chaos: chaos, listener: l, open: make(map[*proxied]bool)}
	p.running.Go(p.accept)
	t.Cleanup(p.Close)
	return p
}

// Addr returns the address to dial.
func (p *Proxy) Addr() net.Addr { return p.listener.Addr() }

// Cuts returns how many connections the proxy has ended, by a fault or CutAll.
func (p *Proxy) Cuts() uint64 { return p.cuts.Load() }

// Stalls returns how often a direction has stopped and gone on.
func (p *Proxy) Stalls() uint64 { return p.stalls.Load() }

// Connections returns how many clients have connected.
func (p *Proxy) Connections() uint64 { return p.connections.Load() }

// CutAll resets all connections that are open, and says how many.
func (p *Proxy) CutAll() int {
	n := 0
	for c := range p.snapshot() {
		if c.cut() {
			n++
		}
		c.reset()
	}
	return n
}

// Close ends the proxy and its connections, and waits for its goroutines.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.listener.Close()
	for c := range p.snapshot() {
		c.close()
	}
	p.running.Wait()
}

func (p *Proxy) snapshot() map[*proxied]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make(map[*proxied]bool, len(p.open))
	for c := range p.open {
		all[c] = true
	}
	return all
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		n := p.connections.Add(1)
		p.running.Go(func() { p.serve(client, n) })
	}
}

func (p *Proxy) serve(client net.Conn, n uint64) {
	server, err := net.DialTimeout(p.network, p.target, dialPatience)
	if err != nil {
		client.Close()
		return
	}
	c := &proxied{proxy: p, client: client, server: server, over: make(chan struct{})}
	if !p.enter(c) {
		c.close()
		return
	}
	defer p.leave(c)
	defer server.Close()
	defer client.Close()
	var directions sync.WaitGroup
	directions.Go(func() { c.carry(server, client, rand.New(rand.NewPCG(p.chaos.Seed, 2*n))) })
	directions.Go(func() { c.carry(client, server, rand.New(rand.NewPCG(p.chaos.Seed, 2*n+1))) })
	directions.Wait()
}

func (p *Proxy) enter(c *proxied) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.open[c] = true
	return true
}

func (p *Proxy) leave(c *proxied) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, c)
}

// A proxied is a connection of a proxy's.
type proxied struct {
	proxy          *Proxy
	client, server net.Conn
	once           sync.Once
	isCut          atomic.Bool   // a fault, or CutAll, has ended it
	over           chan struct{} // closed by end
}

// carry passes bytes on until one side ends or a fault ends the connection.
func (c *proxied) carry(to, from net.Conn, r *rand.Rand) {
	buf := make([]byte, 16<<10)
	left := c.distance(r)
	for {
		n, err := from.Read(buf)
		data := buf[:n]
		for left >= 0 && len(data) >= left {
			if _, err := to.Write(data[:left]); err != nil {
				c.close()
				return
			}
			data = data[left:]
			if c.fault(to, r) {
				return
			}
			left = c.distance(r)
		}
		if _, err := to.Write(data); err != nil {
			c.close()
			return
		}
		if left >= 0 {
			left -= len(data)
		}
		if err != nil {
			halfClose(to)
			return
		}
	}
}

// distance is how many bytes pass before the next fault; -1: there is none.
func (c *proxied) distance(r *rand.Rand) int {
	every := c.proxy.chaos.Every
	switch {
	case every < 0:
		return -1
	case every == 0:
		every = defaultChaosEvery
	}
	return r.IntN(2*min(every, 1<<30-1) + 1)
}

// fault does one of what can happen, and reports whether the connection is over.
func (c *proxied) fault(to net.Conn, r *rand.Rand) (over bool) {
	longest := c.proxy.chaos.Stall
	if longest == 0 {
		longest = defaultChaosStall
	}
	kind := r.IntN(4)
	switch {
	case kind == 3 && longest > 0:
		c.proxy.stalls.Add(1)
		return c.stall(time.Duration(r.Int64N(int64(longest)) + 1))
	case kind == 2 && longest > 0:
		c.cut()
		to.Close()
		c.stall(time.Duration(r.Int64N(int64(longest)) + 1))
		c.close()
	case kind == 1:
		c.cut()
		c.reset()
	default:
		c.cut()
		c.close()
	}
	return true
}

// cut counts the connection as one that is cut, once: both directions may have a fault at a time. It comes before the
// end of it.
func (c *proxied) cut() (first bool) {
	if isClosed(c.over) || c.isCut.Swap(true) {
		return false
	}
	c.proxy.cuts.Add(1)
	return true
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (c *proxied) stall(d time.Duration) (over bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return false
	case <-c.over:
		return true
	}
}

func (c *proxied) close() { c.end(func() { c.client.Close(); c.server.Close() }) }

// reset has both peers see ECONNRESET.
func (c *proxied) reset() {
	c.end(func() {
		for _, conn := range []net.Conn{c.client, c.server} {
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
			conn.Close()
		}
	})
}

func (c *proxied) end(how func()) {
	c.once.Do(func() {
		how()
		close(c.over)
	})
}

func halfClose(conn net.Conn) {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
		return
	}
	conn.Close()
}
