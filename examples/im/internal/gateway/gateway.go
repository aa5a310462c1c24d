// Package gateway is where clients ask which access server to use.
//
//	g, err := gateway.Start(gateway.Options{Pick: picker.Pick})
//	defer g.Close()
//
// A client sends ReqAccessServer and is answered at once, from the list that the gateway has in memory:
// neither etcd nor an access server is asked, and an outage of either is not noticed here. What is no
// message of the protocol is answered with an Error, and any other command with nothing, as by the original server.
//
// An [Instance] is a gateway with all that it stands on, as the program runs it, and the page for browsers.
//
// While a client is connected and silent it costs no goroutine and no buffer (libnet's event mode).
package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/examples/im/internal/registry"
	"github.com/libnet-go/libnet/examples/im/internal/wire"
	"github.com/libnet-go/libnet/mux"
)

const (
	// maxRequest is larger than any request to a gateway: a command and a text nobody looks at.
	maxRequest = 1 << 10
	// sendQueue is how many answers wait for a client; one that asks more often than it reads is cut off.
	sendQueue = 16
)

// Options is what a gateway needs. Pick is required; of the others zero means the default.
type Options struct {
	// Pick chooses the access server of a client, as pick.Picker.Pick does. It is called by many
	// goroutines at a time, always with nil, and must not wait.
	Pick func(suits func(registry.Server) bool) (registry.Server, bool)

	Listen   string       // default "127.0.0.1:0"
	Listener net.Listener // instead of Listen

	RequestTimeout   time.Duration // from accept, or from a request's first byte, to its last, and for the answer; default 5 s
	IdleTimeout      time.Duration // a client that sends nothing this long is disconnected; default 30 s
	MaxSessions      int           // default 100,000
	MaxSessionsPerIP int           // from one IPv4 address, or IPv6 /64; default no bound
	TLS              *tls.Config   // default no TLS
	Logger           *slog.Logger  // default slog.Default()
}

// Server is a gateway that runs. Its methods may be called by any goroutine.
type Server struct {
	libnet *libnet.Server
	pick   func(func(registry.Server) bool) (registry.Server, bool)
	log    *slog.Logger
	done   chan struct{} // serve closes it at its end
}

// Start listens and serves. It panics without Pick.
func Start(o Options) (*Server, error) {
	if o.Pick == nil {
		panic("gateway: Start without Pick")
	}
	byDefault(&o.Listen, "127.0.0.1:0")
	byDefault(&o.RequestTimeout, 5*time.Second)
	byDefault(&o.IdleTimeout, 30*time.Second)
	byDefault(&o.MaxSessions, 100_000)
	byDefault(&o.Logger, slog.Default())
	if o.Listener == nil {
		var err error
		if o.Listener, err = net.Listen("tcp", o.Listen); err != nil {
			return nil, fmt.Errorf("gateway: %w", err)
		}
	}
	s := &Server{pick: o.Pick, log: o.Logger, done: make(chan struct{})}
	m := wire.NewMux()
	m.Logger = o.Logger
	mux.Handle(m, wire.Kind(wire.CmdAccessServer), s.choose)
	s.libnet = newLibnet(o, m)
	go s.serve(m)
	return s, nil
}

func newLibnet(o Options, m *mux.Mux) *libnet.Server {
	server := libnet.NewServer(o.Listener, wire.MuxProtocol(m), sendQueue)
	server.MaxMessage = maxRequest
	server.TLSConfig = o.TLS
	server.OnFull = libnet.CloseSession
	server.HandshakeTimeout = o.RequestTimeout
	server.FrameTimeout = o.RequestTimeout
	server.WriteTimeout = o.RequestTimeout
	server.IdleTimeout = o.IdleTimeout
	server.MaxSessions = o.MaxSessions
	server.MaxSessionsPerIP = o.MaxSessionsPerIP
	server.Logger = o.Logger
	return server
}

func byDefault[T comparable](set *T, value T) {
	var zero T
	if *set == zero {
		*set = value
	}
}

func (s *Server) serve(m *mux.Mux) {
	defer close(s.done)
	err := s.libnet.ServeMessages(libnet.MessageHandlerFunc(func(session *libnet.Session, payload []byte) { wire.Serve(m, session, payload) }))
	if !errors.Is(err, libnet.ErrServerClosed) {
		s.log.Error("gateway: no longer accepting", "error", err)
	}
}

// Addr is where clients connect, "host:port".
func (s *Server) Addr() string { return s.libnet.Listener().Addr().String() }

// Stats are libnet's counters of this gateway's sessions.
func (s *Server) Stats() libnet.ServerStats { return s.libnet.Stats() }

// Shutdown stops accepting, delivers the answers that are queued and ends all sessions. When ctx ends
// first, the rest is cut off and the error says how many.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.libnet.Shutdown(ctx)
	<-s.done
	return err
}

// Close ends the gateway at once. A second call does nothing.
func (s *Server) Close() {
	s.libnet.Stop()
	<-s.done
}

func (s *Server) choose(context.Context, *libnet.Session, *wire.ReqAccessServer) (*wire.ResSelectAccessServerForClient, error) {
	server, ok := s.pick(nil)
	if !ok {
		return nil, &mux.Error{Code: wire.CodeNoAccessServer, Text: wire.TextNoAccessServer}
	}
	return &wire.ResSelectAccessServerForClient{ErrStr: wire.TextOK, Addr: server.Addr}, nil
}
