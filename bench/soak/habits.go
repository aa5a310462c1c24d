package main

import (
	"io"
	"math/rand/v2"
	"time"
)

// A habit is what a client does, again and again.
type habit struct {
	name    string
	clients int
	goesTo  func(*station) bool
	visit   func(*crowd, *station)
}

var habits = []habit{
	{"asks and reads the answers", 16, echoes, chat},
	{"asks, ends its side, reads all answers", 10, answersToTheEnd, burst},
	{"asks and resets", 10, echoes, resets},
	{"asks and reads 1 KB a second", 8, echoes, dawdle},
	{"asks and never reads", 8, echoes, neverRead},
	{"connects and says nothing", 3, all, saysNothing},
	{"sends half a message", 3, all, halfMessage},
	{"sends half a request", 2, webSockets, halfRequest},
	{"is a member", 18, hubs, member(0)},
	{"is a member and reads 1 KB a second", 5, hubs, member(1000)},
	{"is a member and never reads", 5, hubs, deafMember},
	{"uses libnet and closes", 10, echoes, useSession},
}

func all(*station) bool           { return true }
func hubs(st *station) bool       { return st.hub }
func echoes(st *station) bool     { return !st.hub }
func webSockets(st *station) bool { return st.websocket != noWebSocket }

// answersToTheEnd is whether a client that has ended its side gets what is queued for it.
func answersToTheEnd(st *station) bool { return echoes(st) && st.websocket != throughHandler }

func size() int { return 8 + rand.IntN(1500) }

func chat(c *crowd, st *station) {
	p, err := c.dial(st)
	if err != nil {
		c.fault("%s: dial: %w", st.name, err)
		return
	}
	defer p.end()
	for range 1 + rand.IntN(5) {
		for range 1 + rand.IntN(20) {
			if err := p.send(size()); err != nil {
				c.fault("%s: send: %w", st.name, err)
				return
			}
		}
		if p.mustReceive(p.sent) != nil || !c.pace.wait(c.ctx) {
			return
		}
	}
}

// burst ends its output and must get every answer, and then the other side's end.
func burst(c *crowd, st *station) {
	p, err := c.dial(st)
	if err != nil {
		c.fault("%s: dial: %w", st.name, err)
		return
	}
	defer p.end()
	for range 100 {
		if err := p.send(100); err != nil {
			c.fault("%s: send: %w", st.name, err)
			return
		}
	}
	if err := p.endSide(); err != nil {
		c.fault("%s: the end of a side: %w", st.name, err)
		return
	}
	if p.mustReceive(p.sent) != nil {
		return
	}
	if _, err := p.receive(); !isEnd(err) {
		c.fault("%s: after the last answer: %w", st.name, err)
	}
}

func resets(c *crowd, st *station) {
	p, err := c.dial(st)
	if err != nil {
		return
	}
	defer p.end()
	for range rand.IntN(50) {
		if p.send(size()) != nil {
			return
		}
	}
	for range rand.IntN(10) {
		_ = p.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := p.receive(); err != nil {
			break
		}
	}
	p.reset()
}

func dawdle(c *crowd, st *station) {
	p, err := c.dial(st)
	if err != nil {
		return
	}
	defer p.end()
	p.small()
	for range 20 {
		if p.send(2000) != nil {
			break
		}
	}
	p.readAll(1000, time.Now().Add(5*time.Second))
	if rand.IntN(2) == 0 {
		p.reset()
	}
}

func neverRead(c *crowd, st *station) {
	p, err := c.dial(st)
	if err != nil {
		return
	}
	defer p.end()
	p.small()
	_ = p.SetWriteDeadline(time.Now().Add(2 * time.Second))
	for range 100 {
		if p.send(4000) != nil {
			break
		}
	}
	c.sleep(time.Duration(rand.IntN(5000)) * time.Millisecond)
	if rand.IntN(2) == 0 {
		p.reset()
	}
}

// saysNothing waits for the station's HandshakeTimeout.
func saysNothing(c *crowd, st *station) {
	p, err := c.dial(st)
	if err != nil {
		return
	}
	defer p.end()
	p.readAll(0, time.Now().Add(patience))
}

// halfMessage waits for its FrameTimeout.
func halfMessage(c *crowd, st *station) {
	p, err := c.dial(st)
	if err != nil {
		return
	}
	defer p.end()
	frame := p.frame(make([]byte, 1000))
	_, _ = p.Write(frame[:len(frame)/2])
	p.readAll(0, time.Now().Add(patience))
}

// halfRequest waits until its WebSocket is refused.
func halfRequest(c *crowd, st *station) {
	p, err := c.connect(st)
	if err != nil {
		return
	}
	defer p.end()
	_, _ = p.Write([]byte(upgradeRequest[:rand.IntN(len(upgradeRequest))]))
	_ = p.SetReadDeadline(time.Now().Add(patience))
	_, _ = io.Copy(io.Discard, p.in)
}

// member joins, stays for some seconds, and says something every second, or the station would end it as idle.
func member(rate int) func(*crowd, *station) {
	return func(c *crowd, st *station) {
		p := c.join(st)
		if p == nil {
			return
		}
		defer p.end()
		if rate > 0 {
			p.small()
		}
		p.readAll(rate, time.Now().Add(time.Duration(1+rand.IntN(10))*time.Second))
		if rand.IntN(2) == 0 {
			p.reset()
		}
	}
}

func deafMember(c *crowd, st *station) {
	p := c.join(st)
	if p == nil {
		return
	}
	defer p.end()
	p.small()
	c.sleep(time.Duration(1+rand.IntN(10)) * time.Second)
	if rand.IntN(2) == 0 {
		p.reset()
	}
}

// join makes a member, which speaks until its connection ends.
func (c *crowd) join(st *station) *peer {
	p, err := c.dial(st)
	if err != nil || p.send(8) != nil {
		return nil
	}
	go func() {
		for c.sleep(time.Second) && p.send(8) == nil {
		}
	}()
	return p
}
