package main

import (
	"bufio"
	"net"
	"net/http"
	"sync"

	"github.com/lxzan/gws"
)

// gws as its README has it: a goroutine a connection reads and calls OnMessage.

func gwsEcho(listen func() (net.Listener, error)) func(func([]byte)) (net.Addr, error) {
	return func(before func([]byte)) (net.Addr, error) {
		return startGWS(listen, &gwsEchoes{before: before})
	}
}

func gwsBroadcast(listen func() (net.Listener, error)) func() (net.Addr, error) {
	return func() (net.Addr, error) {
		return startGWS(listen, &gwsHub{members: map[*gws.Conn]struct{}{}})
	}
}

func startGWS(listen func() (net.Listener, error), handler gws.Event) (net.Addr, error) {
	l, err := listen()
	if err != nil {
		return nil, err
	}
	srv := gws.NewServer(handler, &gws.ServerOption{})
	srv.OnError = func(net.Conn, error) {}
	srv.OnRequest = func(conn net.Conn, br *bufio.Reader, r *http.Request) {
		if socket, err := srv.GetUpgrader().UpgradeFromConn(conn, br, r); err == nil {
			socket.ReadLoop()
		}
	}
	go srv.RunListener(l)
	return l.Addr(), nil
}

type gwsEchoes struct {
	gws.BuiltinEventHandler
	before func([]byte)
}

func (e *gwsEchoes) OnMessage(socket *gws.Conn, message *gws.Message) {
	defer message.Close()
	if e.before != nil {
		e.before(message.Bytes())
	}
	socket.WriteMessage(message.Opcode, message.Bytes())
}

// A gwsHub broadcasts with gws's own Broadcaster, which encodes once and queues for each member.
type gwsHub struct {
	gws.BuiltinEventHandler
	mu      sync.RWMutex
	members map[*gws.Conn]struct{}
}

func (h *gwsHub) OnOpen(socket *gws.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.members[socket] = struct{}{}
}

func (h *gwsHub) OnClose(socket *gws.Conn, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.members, socket)
}

func (h *gwsHub) OnMessage(socket *gws.Conn, message *gws.Message) {
	defer message.Close()
	if wantsReply(message.Bytes()) {
		socket.WriteMessage(message.Opcode, message.Bytes())
		return
	}
	broadcaster := gws.NewBroadcaster(message.Opcode, message.Bytes())
	defer broadcaster.Close()
	h.mu.RLock()
	defer h.mu.RUnlock()
	for member := range h.members {
		broadcaster.Broadcast(member)
	}
}
