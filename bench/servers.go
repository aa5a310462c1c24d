package main

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// A design is one way to serve the benchmark's protocol: a 2-byte big-endian length, then so many
// bytes. Its functions listen on a free port of 127.0.0.1, serve in the background until the
// process ends, and return the address.
type design struct {
	name  string
	about string

	// echo answers each message with itself. A before that is not nil is called with each message
	// first, where a handler would do its work.
	echo func(before func(msg []byte)) (net.Addr, error)

	// broadcast sends each message to every connection, the sender's own among them, except one
	// that wantsReply, which it answers with itself. Nil where the design has no such thing.
	broadcast func() (net.Addr, error)
}

// A server is a design and what its connections begin with.
type server struct {
	design
	over  wire
	named bool // only rows that name it run it
}

// webSocketServer is the one of all rows whose connections are WebSockets.
const webSocketServer = "libnet-ws-event"

// servers is in the order of the tables.
var servers = slices.Concat(
	serversOver(overTCP, false,
		design{"net", "by hand: bufio.Reader, one Write a message", netEcho, netBroadcast},
		design{"net-batched", "by hand: bufio both ways, flush when the reader runs dry", netBatchedEcho, nil},
		design{"net-chan", "by hand: a channel and a writing goroutine a session, one Write a message", nil, netChanBroadcast},
		design{"net-chan-batched", "the same, but what the channel holds leaves in one Write", nil, netChanBatchedBroadcast},
		design{"seed", "the article's design: unbuffered, two reads and two writes a message", seedEcho(0), seedBroadcast(0)},
		design{"seed-queued", "the same with its send channel of 1024 and send loop", seedEcho(1024), seedBroadcast(1024)},
		design{"netpoll", "github.com/cloudwego/netpoll: no-copy reads, one flush a batch", netpollEcho, netpollBroadcast},
		design{"gnet", "github.com/panjf2000/gnet: a locked loop a processor, one Write a read", gnetEcho, gnetBroadcast},
		design{"nbio", "github.com/lesismal/nbio: one poller, its default on two cores; one Write a read", nbioEcho(1), nbioBroadcast(1)},
		design{"nbio-2", "the same with two pollers", nbioEcho(2), nbioBroadcast(2)},
		design{"libnet-sync", "SendQueue 0: Receive, Send; one write a message", libnetEcho(frames(), 0), nil},
		design{"libnet", "SendQueue 1024: Receive, Send", libnetEcho(frames(), queued), libnetBroadcast(frames())},
		design{"libnet-bytes", "the same with SendBytes", libnetBytesEcho, nil},
		design{"libnet-into", "libnet with ReceiveInto and one buffer", libnetIntoEcho, nil},
		design{"libnet-plain", "libnet with a user's codec that knows only io.ReadWriter", libnetEcho(plainProtocol, queued), nil},
		design{"libnet-event", "ServeMessages: no goroutine a session; Send in the handler", libnetEventEcho(frames()), libnetEventBroadcast(frames())},
		design{"libnet-event-bytes", "the same with SendBytes", libnetEventBytesEcho, nil},
		design{"libnet-event-into", "libnet-event, sending the address of a slice in Session.State", libnetEventIntoEcho, nil},
	),
	serversOver(overWebSocket, false,
		design{webSocketServer, "libnet-event as WebSockets (ws.Protocol)", libnetEventEcho(webSockets()), libnetEventBroadcast(webSockets())},
	),
	serversOver(overWebSocket, true,
		design{"libnet-ws", "libnet as WebSockets (ws.Protocol)", libnetEcho(webSockets(), queued), libnetBroadcast(webSockets())},
		design{"gws", "github.com/lxzan/gws: a goroutine a session; broadcasts encoded once", gwsEcho(listen), gwsBroadcast(listen)},
		design{"nbio-ws", "nbio's WebSocket: no goroutine a session", nbioWebSocketEcho, nil},
	),
	serversOver(overMux, true,
		design{"libnet-mux", "libnet with package mux: routes typed messages, and replies to calls", muxEcho(serveMux), nil},
		design{"libnet-mux-event", "the same without a goroutine a session", muxEcho(serveMuxEvents), nil},
	),
	serversOver(overTLS, true,
		design{"net-tls", "net over crypto/tls: a goroutine a session", netTLSEcho, nil},
		design{"nbio-tls", "nbio with its fork of crypto/tls", nbioTLSEcho, nil},
		design{"libnet-tls", "libnet with TLS", libnetEcho(frames(), queued, withTLS), nil},
		design{"libnet-tls-event", "libnet-event with TLS", libnetEventEcho(frames(), withTLS), nil},
	),
	serversOver(overSecureWebSocket, true,
		design{"libnet-wss", "libnet-ws with TLS", libnetEcho(webSockets(), queued, withTLS), nil},
		design{"libnet-wss-event", "libnet-ws-event with TLS", libnetEventEcho(webSockets(), withTLS), libnetEventBroadcast(webSockets(), withTLS)},
		design{"libnet-wss-monitored", "the same with package monitor's metrics, read once a second", libnetEventEcho(webSockets(), withTLS, withMonitor), nil},
		design{"gws-wss", "gws with TLS", gwsEcho(listenTLS), gwsBroadcast(listenTLS)},
		design{"nbio-wss", "nbio-ws with its fork of crypto/tls", nbioSecureWebSocketEcho, nil},
	),
)

func serversOver(over wire, named bool, designs ...design) (list []server) {
	for _, d := range designs {
		list = append(list, server{d, over, named})
	}
	return list
}

// The first byte of a payload tells a server what a row wants of it. All other bytes are filler.
const (
	plainMark = 0
	napMark   = 'n' // in the sleep row: the handler sleeps for napTime before it replies
	replyMark = 'r' // in broadcast rows: reply to the sender only
)

// napTime is how long a handler of the sleep row sleeps.
const napTime = 50 * time.Millisecond

func nap(msg []byte) {
	if len(msg) > 0 && msg[0] == napMark {
		time.Sleep(napTime)
	}
}

func wantsReply(msg []byte) bool { return len(msg) > 0 && msg[0] == replyMark }

// start makes the server serve what rows of this kind ask for.
func (s server) start(kind rowKind) (net.Addr, error) {
	switch {
	case !s.can(kind):
		return nil, fmt.Errorf("server %s does not serve rows of kind %s", s.name, kind)
	case kind.broadcasts():
		return s.broadcast()
	case kind == sleepKind:
		return s.echo(nap)
	}
	return s.echo(nil)
}

// can reports whether the server has what rows of this kind need.
func (s server) can(kind rowKind) bool {
	if kind.broadcasts() {
		return s.broadcast != nil
	}
	return s.echo != nil
}

func findServer(name string) (server, error) {
	var names []string
	for _, s := range servers {
		if s.name == name {
			return s, nil
		}
		names = append(names, s.name)
	}
	return server{}, fmt.Errorf("no server %q; there are %s", name, strings.Join(names, ", "))
}

func listen() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }

// accept serves each connection of a new listener by a goroutine and closes it afterwards.
func accept(serve func(net.Conn)) (net.Addr, error) { return acceptOn(listen, serve) }

func acceptOn(listen func() (net.Listener, error), serve func(net.Conn)) (net.Addr, error) {
	l, err := listen()
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
	return l.Addr(), nil
}
