package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Health says what a node's answers are worth.
type Health int32

const (
	// Whole: the node is connected, and hears all nodes that it knows of. What is not found is offline.
	Whole Health = iota

	// Degraded: the node has no connection to NATS, or does not hear a node that may hold users. What is not found is
	// unknown. It ends by itself.
	Degraded

	// Lost: the connection to NATS is closed for good, as by a caller of [Node.Conn], or after an error that the NATS
	// client gives up at; a refused login is none. The node is of no use any more: close it, or end the process.
	Lost
)

// String returns the name in lower case.
func (h Health) String() string {
	switch h {
	case Whole:
		return "whole"
	case Degraded:
		return "degraded"
	case Lost:
		return "lost"
	}
	return fmt.Sprintf("health %d", int32(h))
}

// Health returns how the node is, as it was at most half a second ago, and why: nil, [ErrDisconnected] or
// [ErrDegraded], wrapped or not. It waits for nothing.
func (n *Node) Health() (Health, error) {
	c := n.health.current.Load()
	return c.health, c.err
}

type healthChange struct {
	health Health
	err    error
}

// health watches the node, and has the user told.
type health struct {
	current atomic.Pointer[healthChange] // watchHealth stores
	look    chan struct{}                // lookAtHealth sends, watchHealth receives; has room for one
	tell    func(Health, error)          // Options.OnHealth; immutable

	mu sync.Mutex
	// mu guards the following.
	next    *healthChange // what the user is to be told next: the latest, whatever there was before
	telling bool          // a goroutine is at it
}

func newHealth(tell func(Health, error)) health {
	return health{look: make(chan struct{}, 1), tell: tell}
}

// lookAtHealth has a change seen at once. It is called when the connection breaks, is back, or is given up.
func (n *Node) lookAtHealth() {
	select {
	case n.health.look <- struct{}{}:
	default: // it is due already
	}
}

// healthInterval is how often a node looks for others that have fallen silent, or are heard again.
const healthInterval = heartbeatInterval / 2

func (n *Node) watchHealth() {
	defer n.running.Done()
	tick := time.NewTicker(healthInterval)
	defer tick.Stop()
	for {
		select {
		case <-n.health.look:
		case <-tick.C:
		case <-n.done:
			return
		}
		if n.updateHealth(); n.health.current.Load().health == Lost {
			return
		}
	}
}

func (n *Node) updateHealth() {
	last, now := n.health.current.Load(), n.examine()
	if n.state() == stateClosed || last.health == now.health && errors.Is(now.err, last.err) {
		return
	}
	n.health.current.Store(&now)
	level := slog.LevelWarn
	if now.health == Whole {
		level = slog.LevelInfo
	}
	n.log.Log(n.life, level, "cluster: health", "node", n.id, "health", now.health.String(), "error", now.err)
	n.tellHealth(now)
}

func (n *Node) examine() healthChange {
	_, unreachable := n.peers.split()
	switch {
	case n.conn.IsClosed():
		return healthChange{Lost, errors.Join(ErrDisconnected, n.conn.LastError())}
	case !n.conn.IsConnected():
		return healthChange{Degraded, ErrDisconnected}
	case unreachable > 0 || n.peers.isolated():
		return healthChange{Degraded, ErrDegraded}
	}
	return healthChange{Whole, nil}
}

// tellHealth calls the user on a goroutine of its own: what hangs there holds up later changes, and nothing else.
func (n *Node) tellHealth(c healthChange) {
	h := &n.health
	if h.tell == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.next = &c
	if !h.telling {
		h.telling = true
		go n.tellHealths()
	}
}

func (n *Node) tellHealths() {
	returned := false
	defer func() {
		if !returned { // it has panicked, or ended the goroutine
			n.logPanic("Options.OnHealth", recover())
			go n.tellHealths()
		}
	}()
	for c := n.nextHealth(); c != nil; c = n.nextHealth() {
		n.health.tell(c.health, c.err)
	}
	returned = true
}

// nextHealth returns what is to be told, nil once there is nothing.
func (n *Node) nextHealth() *healthChange {
	h := &n.health
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.next
	h.next = nil
	h.telling = c != nil && n.state() != stateClosed
	if !h.telling {
		return nil
	}
	return c
}

// logPanic tells of a callback of the user's that did not return.
func (n *Node) logPanic(callback string, value any) {
	n.log.Error("cluster: a callback panicked", "node", n.id, "callback", callback, "panic", textOf(value), "stack", string(debug.Stack()))
}
