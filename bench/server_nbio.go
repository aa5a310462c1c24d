package main

import (
	"net"
	"sync"

	"github.com/lesismal/nbio"
)

// nbio as its README has it: OnData is called with what the poller has read, and what a Write cannot hand to the kernel
// is kept by nbio. With two cores its default is one poller.

func nbioEcho(pollers int) func(func([]byte)) (net.Addr, error) {
	return func(before func([]byte)) (net.Addr, error) {
		handle := replyToEach(before)
		return startNbio(pollers, func(engine *nbio.Engine) {
			engine.OnData(func(c *nbio.Conn, data []byte) {
				out := newOutgoing()
				defer out.free()
				takeNbio(c, out, data, handle)
				if len(out.reply) > 0 {
					c.Write(out.reply)
				}
			})
		})
	}
}

// takeNbio keeps a remainder with the connection only where there is one.
func takeNbio(c *nbio.Conn, out *outgoing, data []byte, handle frameHandler) {
	if r, ok := c.Session().(*remainder); ok {
		r.take(out, data, handle)
		return
	}
	if taken := handle(out, data); taken < len(data) {
		r := new(remainder)
		r.kept = append(r.kept, data[taken:]...)
		c.SetSession(r)
	}
}

func nbioBroadcast(pollers int) func() (net.Addr, error) {
	return func() (net.Addr, error) {
		h := nbioHub{members: map[*nbio.Conn]struct{}{}}
		return startNbio(pollers, func(engine *nbio.Engine) {
			engine.OnOpen(h.add)
			engine.OnClose(h.remove)
			engine.OnData(func(c *nbio.Conn, data []byte) {
				out := newOutgoing()
				defer out.free()
				takeNbio(c, out, data, passToAll)
				if len(out.reply) > 0 {
					c.Write(out.reply)
				}
				if len(out.all) > 0 {
					h.broadcast(out.all)
				}
			})
		})
	}
}

type nbioHub struct {
	mu      sync.RWMutex
	members map[*nbio.Conn]struct{}
}

func (h *nbioHub) add(c *nbio.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.members[c] = struct{}{}
}

func (h *nbioHub) remove(c *nbio.Conn, _ error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.members, c)
}

func (h *nbioHub) broadcast(frames []byte) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for c := range h.members {
		c.Write(frames)
	}
}

// peerReadBuffer is as much as a peer's loop reads at once.
const peerReadBuffer = 512 << 10

func startNbio(pollers int, set func(*nbio.Engine)) (net.Addr, error) {
	var at listenedAt
	engine := nbio.NewEngine(nbio.Config{
		Network: "tcp",
		Addrs:   []string{"127.0.0.1:0"},
		NPoller: pollers,
		Listen:  at.listen,
		// A poller has one buffer. In its default of 64 KiB no two messages of 65,000 bytes fit, and their parts are
		// copied.
		ReadBufferSize: peerReadBuffer,
	})
	set(engine)
	err := engine.Start()
	return at.address, err
}

// listenedAt tells which port a library has got that is given an address only.
type listenedAt struct{ address net.Addr }

func (at *listenedAt) listen(network, address string) (net.Listener, error) {
	l, err := net.Listen(network, address)
	if err == nil {
		at.address = l.Addr()
	}
	return l, err
}
