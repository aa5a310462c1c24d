package access_test

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// A cable leads to a server until it is pulled: then what either side sends is lost, and neither is told.
type cable struct {
	listener net.Listener
	target   string
	pulled   atomic.Bool

	mu      sync.Mutex
	conns   []net.Conn
	closed  bool
	running sync.WaitGroup
}

func newCable(t testing.TB, target string) *cable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{listener: l, target: target}
	c.running.Go(c.accept)
	t.Cleanup(c.close)
	return c
}

func (c *cable) addr() string { return c.listener.Addr().String() }

func (c *cable) accept() {
	for {
		near, err := c.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", c.target)
		if err != nil {
			near.Close()
			continue
		}
		c.mu.Lock()
		if c.closed {
			near.Close()
			far.Close()
		}
		c.conns = append(c.conns, near, far)
		c.mu.Unlock()
		c.running.Go(func() { c.carry(far, near) })
		c.running.Go(func() { c.carry(near, far) })
	}
}

func (c *cable) carry(to, from net.Conn) {
	defer to.Close()
	buf := make([]byte, 32<<10)
	for lost := false; ; {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		// What was lost once is missing for good.
		if lost = lost || c.pulled.Load(); lost {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (c *cable) close() {
	c.listener.Close()
	c.mu.Lock()
	c.closed = true
	for _, conn := range c.conns {
		conn.Close()
	}
	c.mu.Unlock()
	c.running.Wait()
}
