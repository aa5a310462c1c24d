package limit

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// HTTP returns an http.Server's ConnState that closes connections beyond so many in all, and from one address; 0 and
// less mean no bound. A connection that was taken over, as a WebSocket's is, does not count any more.
func HTTP(all, perAddress int) func(net.Conn, http.ConnState) {
	c := &connections{all: all, perAddress: perAddress, from: make(map[netip.Addr]int), open: make(map[net.Conn]netip.Addr)}
	return c.changed
}

type connections struct {
	// Immutable.
	all, perAddress int

	// mu guards the following.
	mu   sync.Mutex
	from map[netip.Addr]int
	open map[net.Conn]netip.Addr // those that count
}

func (c *connections) changed(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if !c.add(conn) {
			_ = conn.Close()
		}
	case http.StateClosed, http.StateHijacked:
		c.remove(conn)
	}
}

func (c *connections) add(conn net.Conn) bool {
	addr := who(conn.RemoteAddr())
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all > 0 && len(c.open) >= c.all || c.perAddress > 0 && c.from[addr] >= c.perAddress {
		return false
	}
	c.open[conn] = addr
	c.from[addr]++
	return true
}

func (c *connections) remove(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	addr, ok := c.open[conn]
	if !ok {
		return
	}
	delete(c.open, conn)
	if c.from[addr]--; c.from[addr] == 0 {
		delete(c.from, addr)
	}
}
