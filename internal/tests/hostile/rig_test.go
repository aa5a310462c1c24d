package hostile

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/testkit"
	"github.com/libnet-go/libnet/libnettest"
	"github.com/libnet-go/libnet/mux"
	"github.com/libnet-go/libnet/reconnect"
	"github.com/libnet-go/libnet/ws"
)

// A mode is one way to run a server.
type mode struct {
	name      string
	serve     string // Serve, ServeMessages, Accept, ServeConn, ws.Handler or ws.MessageHandler
	transport string // tcp, unix, pipe, tls, or ws and wss: WebSocket on the server's own listener
	codec     string // plain, pure, splitting, composed, whole or func
	queue     int
}

var modes = []mode{
	{"Serve over TCP", "Serve", "tcp", "pure", 8},
	{"Serve over TCP with a plain codec", "Serve", "tcp", "plain", 8},
	{"Serve over TLS", "Serve", "tls", "pure", 8},
	{"Serve over a pipe", "Serve", "pipe", "composed", 8},
	{"Serve over Unix", "Serve", "unix", "func", 8},
	{"synchronous over TCP", "Serve", "tcp", "splitting", 0},
	{"synchronous over a pipe with a plain codec", "Serve", "pipe", "plain", 0},
	{"synchronous over TLS", "Serve", "tls", "whole", 0},
	{"ServeMessages over TCP", "ServeMessages", "tcp", "pure", 8},
	{"ServeMessages over Unix", "ServeMessages", "unix", "composed", 8},
	{"ServeMessages over TLS", "ServeMessages", "tls", "pure", 8},
	{"ServeMessages over a pipe with a plain codec", "ServeMessages", "pipe", "plain", 8},
	{"Accept over Unix", "Accept", "unix", "pure", 8},
	{"Accept over TCP with a plain codec", "Accept", "tcp", "plain", 0},
	{"ServeConn over a pipe", "ServeConn", "pipe", "whole", 8},
	{"Serve over WebSocket", "Serve", "ws", "composed", 8},
	{"synchronous over WebSocket with TLS", "Serve", "wss", "whole", 0},
	{"ServeMessages over WebSocket", "ServeMessages", "ws", "pure", 8},
	{"ServeMessages over WebSocket with TLS", "ServeMessages", "wss", "pure", 8},
	{"Accept over WebSocket", "Accept", "ws", "func", 8},
	{"ws.Handler", "ws.Handler", "tcp", "pure", 8},
	{"ws.MessageHandler", "ws.MessageHandler", "tcp", "pure", 8},
}

func modesNamed(names ...string) (named []mode) {
	for _, name := range names {
		i := slices.IndexFunc(modes, func(m mode) bool { return m.name == name })
		named = append(named, modes[i])
	}
	return named
}

// inTime bounds what takes no time on a machine that has it.
const inTime = 5 * time.Second

const writeTimeout = time.Second

// A rig is a server, with all its user code, and what a row needs of it.
type rig struct {
	mode
	b        *bomb
	srv      *libnet.Server
	listener net.Listener
	pipes    *libnettest.Listener // nil but for pipes
	group    libnet.Group[uint64]
	victim   atomic.Pointer[libnet.Session] // the session on which the bomb is to go off
	sent     atomic.Uint64                  // messages that Send has taken
	unsure   atomic.Uint64                  // messages that a synchronous SendContext left when its context ended
	conns    sync.WaitGroup                 // goroutines of the rig's own
	client   *reconnect.Client              // nil but in the rows of package reconnect
	mux      atomic.Pointer[mux.Mux]        // nil but in the rows of package mux
	end      func()
	tickets  tls.ClientSessionCache // of clients over TLS
}

func newRig(t testing.TB, m mode, site *site, does behaviour) *rig {
	r := prepareRig(t, m, site, does)
	r.serve()
	return r
}

// prepareRig returns a rig whose server does not serve yet.
func prepareRig(t testing.TB, m mode, site *site, does behaviour) *rig {
	r := &rig{mode: m, tickets: tls.NewLRUClientSessionCache(1)}
	r.b = &bomb{site: site.name, source: site.source, does: does, rig: r, fired: make(chan struct{}), freed: make(chan struct{})}
	if site.source == "libnet.Session.CloseWithError" {
		r.b.source = "" // its error comes without a call of the user's code
	}
	r.listen(t)
	l := r.listener
	if site.cover != "" {
		l = &coveringListener{l, site.cover, r.b}
	}
	if strings.HasPrefix(site.of(), "net.Listener.") {
		l = &userListener{l, r.b}
	}
	r.srv = libnet.NewServer(l, r.protocol(), m.queue)
	r.srv.Logger = slog.New(logs{r.b})
	r.srv.Linger = 200 * time.Millisecond
	r.srv.WriteTimeout = writeTimeout
	r.srv.ReceiveBuffer = 256 << 10 // so that a conn is asked for it
	r.srv.OnSession = r.admit
	if strings.HasPrefix(site.of(), "libnet.Heartbeat.") {
		r.srv.Heartbeat = libnet.Heartbeat{Interval: 5 * time.Millisecond, Message: r.heartbeat}
	}
	if site.perIP {
		r.srv.MaxSessionsPerIP = 100
	}
	if overTLS(m) {
		r.srv.TLSConfig = testkit.ServerTLS()
	}
	if site.isOfTLS() {
		r.srv.TLSConfig = serverTLS(r.b)
	}
	return r
}

func (r *rig) protocol() libnet.Protocol {
	p := protocolOf(r.codec, r.b)
	if testkit.IsWeb(r.transport) {
		return ws.Protocol(p, r.options())
	}
	return p
}

func (r *rig) options() *ws.HandlerOptions {
	return &ws.HandlerOptions{Check: func(*http.Request) error { return r.b.failure(r.b.at("ws.HandlerOptions.Check")) }}
}

func (r *rig) listen(t testing.TB) {
	var err error
	switch r.transport {
	case "pipe":
		r.pipes = libnettest.NewListener()
		r.listener = r.pipes
	case "unix":
		r.listener, err = net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	default:
		r.listener, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A coveringListener makes conns of the user's of what it accepts.
type coveringListener struct {
	net.Listener
	cover string
	b     *bomb
}

func (l *coveringListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &userConn{conn, l.b.orInert()}
	switch l.cover {
	case "slice":
		return sliceConn{Conn: c}, nil
	case "NetConn":
		return coverConn{c}, nil
	case "SyscallConn":
		return systemConn{c}, nil
	case "buffers":
		return bufferConn{c}, nil
	case "MessageConn":
		return framedConn{c}, nil
	}
	return c, nil
}

// serve runs the server; end waits until that has ended.
func (r *rig) serve() {
	run := func() {
		switch r.mode.serve {
		case "Serve":
			_ = r.srv.Serve(libnet.HandlerFunc(r.handle))
		case "ServeMessages":
			_ = r.srv.ServeMessages(libnet.MessageHandlerFunc(r.handleMessage))
		case "Accept":
			r.acceptEach()
		case "ServeConn":
			r.serveConns()
		}
	}
	r.end = func() {}
	if !ownListener(r.mode) {
		h := &http.Server{Handler: r.handler(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
		r.end = func() { _ = h.Close() }
		run = func() { _ = h.Serve(r.srv.Listener()) }
	}
	r.conns.Go(func() {
		done := make(chan struct{})
		go func() { defer close(done); run() }()
		<-done
	})
}

// handler is what a server of net/http's serves.
func (r *rig) handler() http.Handler {
	if r.mode.serve == "ws.MessageHandler" {
		return ws.MessageHandler(r.srv, libnet.MessageHandlerFunc(r.handleMessage), r.options())
	}
	return ws.Handler(r.srv, libnet.HandlerFunc(r.handle), r.options())
}

func (r *rig) acceptEach() {
	for {
		s, exited, err := r.accept()
		switch {
		case exited:
		case err != nil:
			return
		default:
			r.conns.Go(func() {
				r.apart(func() {
					defer s.Close() // what a careful user does
					r.handle(s)
					_ = s.Shutdown(context.Background())
				})
			})
		}
	}
}

// accept is Accept on a goroutine that user code may end.
func (r *rig) accept() (s *libnet.Session, exited bool, err error) {
	exited = true
	r.apart(func() {
		s, err = r.srv.Accept()
		exited = false
	})
	return s, exited, err
}

func (r *rig) apart(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = recover() }()
		f()
	}()
	<-done
}

func (r *rig) serveConns() {
	for {
		conn, err := r.srv.Listener().Accept()
		if err != nil {
			return
		}
		r.conns.Go(func() { r.apart(func() { _ = r.srv.ServeConn(conn, libnet.HandlerFunc(r.handle)) }) })
	}
}

// admit is OnSession.
func (r *rig) admit(s *libnet.Session) error {
	r.group.Put(s.ID(), s)
	if r.b.armed.Load() {
		r.victim.Store(s)
		s.OnClose(func() { r.b.at("libnet.Session.OnClose") })
	}
	return r.b.failure(r.b.at("libnet.Server.OnSession"))
}

func (r *rig) heartbeat(s *libnet.Session) any {
	if s != r.victim.Load() {
		return nil
	}
	switch r.b.at("libnet.Heartbeat.Message") {
	case givesTyped:
		return (*plain)(nil)
	}
	return nil
}

func (r *rig) handle(s *libnet.Session) {
	r.b.at("libnet.Handler.ServeSession")
	for {
		msg, err := s.Receive()
		if err != nil || !r.answer(s, msg) {
			return
		}
	}
}

func (r *rig) handleMessage(s *libnet.Session, msg []byte) {
	r.b.at("libnet.MessageHandler.ServeMessage")
	if !r.answer(s, append([]byte(nil), msg...)) {
		go s.Shutdown(context.Background()) // not of r.conns: the server, and the test, may be done before its handlers are
	}
}

// answer does what a message asks for; false if the session is to end.
func (r *rig) answer(s *libnet.Session, msg []byte) bool {
	switch string(msg) {
	case "bye":
		return false
	case "address":
		msg = []byte(fmt.Sprint(s.LocalAddr() != nil))
	case "fail":
		_ = s.CloseWithError(&slyError{b: r.b})
		return false
	}
	return r.send(s, msg) == nil
}

// send takes one of the two calls that come to the same.
func (r *rig) send(s *libnet.Session, msg []byte) error {
	var err error
	if r.sent.Load()%2 == 0 {
		err = s.SendBytes(msg)
	} else {
		err = s.Send(msg)
	}
	if err == nil {
		r.sent.Add(1)
	}
	return err
}

// toGroup is the message of a broadcast to the victim alone.
const toGroup = "to the group"

func (r *rig) broadcast() {
	if s := r.victim.Load(); s != nil { // a group of its own, or another session's codec might be asked
		var only libnet.Group[string]
		only.Put("victim", s)
		r.sent.Add(uint64(only.Broadcast([]byte(toGroup)).Sent))
		r.sent.Add(uint64(only.BroadcastBytes([]byte(toGroup)).Sent))
		only.Close()
	}
	r.sent.Add(uint64(r.group.Broadcast([]byte("to most")).Sent))
	r.sent.Add(uint64(r.srv.Manager().Broadcast([]byte("to all")).Sent))
}
