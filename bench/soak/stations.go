package main

import (
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/codec"
	"github.com/libnet-go/libnet/ws"
)

// A station is a server that is restarted again and again.
type station struct {
	name      string
	network   string // tcp if empty
	queue     int
	tls       bool
	websocket bool
	hub       bool // it broadcasts to its members, and does not echo
	beats     bool
	onFull    libnet.FullPolicy
	serve     func(*life) error // until the server is stopped
}

var stations = []station{
	{name: "serve", queue: 64, serve: serveSessions},
	{name: "sync", queue: 0, serve: serveSessions},
	{name: "event", queue: 64, serve: serveMessages},
	{name: "unix", network: "unix", queue: 16, serve: serveSessions},
	{name: "unix-event", network: "unix", queue: 16, serve: serveMessages},
	{name: "tls", queue: 64, tls: true, beats: true, serve: serveSessions},
	{name: "tls-event", queue: 64, tls: true, serve: serveMessages},
	{name: "websocket", queue: 64, websocket: true, beats: true, serve: serveWebSockets},
	{name: "hub-drop", queue: 16, hub: true, onFull: libnet.DropOldest, serve: serveSessions},
	{name: "hub-close", queue: 16, hub: true, onFull: libnet.CloseSession, serve: serveSessions},
	{name: "hub-event", queue: 16, hub: true, onFull: libnet.DropOldest, serve: serveMessages},
}

func protocol() libnet.Protocol { return codec.New(codec.Uint32BE, codec.Bytes) }

// timeouts are short, so that peers run into all of them within a round.
func timeouts(srv *libnet.Server) {
	srv.HandshakeTimeout = 4 * time.Second
	srv.FrameTimeout = 3 * time.Second
	srv.WriteTimeout = 3 * time.Second
	srv.IdleTimeout = 8 * time.Second
	srv.Linger = time.Second
	srv.SendBuffer = 16 << 10
}

func serveSessions(l *life) error {
	return l.server.Serve(libnet.HandlerFunc(l.session))
}

func serveMessages(l *life) error {
	return l.server.ServeMessages(libnet.MessageHandlerFunc(l.message))
}

func serveWebSockets(l *life) error {
	server := &http.Server{Handler: ws.Handler(l.server, libnet.HandlerFunc(l.session), nil)}
	err := server.Serve(l.server.Listener())
	<-l.server.Stopping()
	_ = server.Close() // connections that have asked for nothing yet
	return err
}

// listen listens at a free address, or a file of the folder.
func (st *station) listen(folder string) (net.Listener, error) {
	if st.network == "unix" {
		return net.Listen("unix", folder+"/"+st.name)
	}
	return net.Listen("tcp", "127.0.0.1:0")
}

func (st *station) server(l net.Listener, secure *tls.Config) *libnet.Server {
	srv := libnet.NewServer(l, protocol(), st.queue)
	srv.Logger = quiet
	timeouts(srv)
	if st.tls {
		srv.TLSConfig = secure
	}
	srv.OnFull = st.onFull
	if st.beats {
		srv.Heartbeat.Interval = 500 * time.Millisecond
	}
	return srv
}
