package main

import (
	"crypto/tls"
	"log/slog"
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
	websocket way
	hub       bool // it broadcasts to its members, and does not echo
	beats     bool
	onFull    libnet.FullPolicy
	serve     func(*life) error // until the server is stopped
}

// A way is how a station serves WebSockets.
type way int

const (
	noWebSocket way = iota
	throughHandler
	throughMessageHandler
	throughProtocol // on the server's own listener
)

var stations = []station{
	{name: "serve", queue: 64, serve: serveSessions},
	{name: "sync", queue: 0, serve: serveSessions},
	{name: "event", queue: 64, serve: serveMessages},
	{name: "unix", network: "unix", queue: 16, serve: serveSessions},
	{name: "unix-event", network: "unix", queue: 16, serve: serveMessages},
	{name: "tls", queue: 64, tls: true, beats: true, serve: serveSessions},
	{name: "tls-event", queue: 64, tls: true, serve: serveMessages},
	{name: "ws", queue: 64, websocket: throughHandler, beats: true, serve: serveWeb},
	{name: "wss", queue: 64, tls: true, websocket: throughHandler, serve: serveWeb},
	{name: "ws-http-event", queue: 64, websocket: throughMessageHandler, beats: true, serve: serveWeb},
	{name: "wss-http-event", queue: 64, tls: true, websocket: throughMessageHandler, serve: serveWeb},
	{name: "wss-own", queue: 64, tls: true, websocket: throughProtocol, serve: serveSessions},
	{name: "ws-own-event", queue: 64, websocket: throughProtocol, serve: serveMessages},
	{name: "wss-own-event", queue: 64, tls: true, websocket: throughProtocol, beats: true, serve: serveMessages},
	{name: "hub-drop", queue: 16, hub: true, onFull: libnet.DropOldest, serve: serveSessions},
	{name: "hub-close", queue: 16, hub: true, onFull: libnet.CloseSession, serve: serveSessions},
	{name: "hub-event", queue: 16, hub: true, onFull: libnet.DropOldest, serve: serveMessages},
	{name: "hub-wss-event", queue: 16, hub: true, tls: true, websocket: throughProtocol, onFull: libnet.DropOldest, serve: serveMessages},
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

// serveWeb serves WebSockets with net/http.
func serveWeb(l *life) error {
	listener := l.server.Listener()
	if l.tls {
		listener = ws.TLSListener(listener, l.server.TLSConfig)
	}
	server := &http.Server{Handler: l.webHandler(), ReadHeaderTimeout: l.server.HandshakeTimeout, ErrorLog: discard}
	err := server.Serve(listener)
	<-l.server.Stopping()
	_ = server.Close() // connections that have asked for nothing yet
	return err
}

// discard is for what clients do wrong.
var discard = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)

func (l *life) webHandler() http.Handler {
	if l.websocket == throughMessageHandler {
		return ws.MessageHandler(l.server, libnet.MessageHandlerFunc(l.message), nil)
	}
	return ws.Handler(l.server, libnet.HandlerFunc(l.session), nil)
}

// listen listens at a free address, or a file of the folder.
func (st *station) listen(folder string) (net.Listener, error) {
	if st.network == "unix" {
		return net.Listen("unix", folder+"/"+st.name)
	}
	return net.Listen("tcp", "127.0.0.1:0")
}

func (st *station) server(l net.Listener, secure *tls.Config) *libnet.Server {
	spoken := protocol()
	if st.websocket == throughProtocol {
		spoken = ws.Protocol(spoken, nil)
	}
	srv := libnet.NewServer(l, spoken, st.queue)
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
