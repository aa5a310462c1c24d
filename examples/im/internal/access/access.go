// Package access is the access server: it holds the clients' sessions, over TCP and over WebSocket, lets in who has a
// token, stores what users say before it acknowledges it, and tells those whom it concerns.
//
//	server, err := access.Start(access.Options{Cluster: node, History: history, Tokens: tokens, NextID: ids.Next})
//	register(server.Addr(), server.WebSocketURL(), server.Load)
//	...
//	registration.Drain(ctx) // the gateway sends nobody here any more
//	server.Drain(ctx)
//
// A Server knows neither etcd nor the gateway: who starts it registers it. An [Instance] is a server with all that it
// stands on, as the program runs it.
//
// # What is promised
//
//   - A session is bound to a user after the token was checked, and to that user until it ends. Whatever user id a
//     later request carries is ignored.
//   - What a sender may store is bounded, so that nobody can take the place of others: see package quota. Who is
//     refused is told so, with a code of its own; nothing that was acknowledged makes room.
//   - A message is acknowledged after it is stored. What is pushed to the receiver is only a notification; if
//     it is lost the next sync finds the message.
//   - Every request is answered within RequestTimeout, one after the other in a session. What cannot be decoded is
//     answered with an Error, and a command that is not served with nothing. Before a login all that is asked for is
//     refused.
//   - Answers are those of the original server to the byte, but for what MOVING.md lists.
//   - Groups are open: whoever asks joins, and who speaks in a group joins it.
//
// A session that waits for its client has no goroutine, over TCP and over WebSocket.
package access

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/cluster"
	"github.com/libnet-go/libnet/examples/im/internal/history"
	"github.com/libnet-go/libnet/examples/im/internal/limit"
	"github.com/libnet-go/libnet/examples/im/internal/quota"
	"github.com/libnet-go/libnet/examples/im/internal/wire"
	"github.com/libnet-go/libnet/mux"
	"github.com/libnet-go/libnet/ws"
)

// Cluster is what the server needs of a [cluster.Node].
type Cluster interface {
	ID() string
	Bind(ctx context.Context, s *libnet.Session, user string) error
	Join(s *libnet.Session, group string) error
	Leave(s *libnet.Session, group string) error
	Sync(ctx context.Context) error
	Send(ctx context.Context, user string, payload []byte) error
	Post(user string, payload []byte) error
	Broadcast(group string, payload []byte) error
	Online(ctx context.Context, user string) ([]cluster.Presence, error)
}

// History is what the server needs of a [history.History].
type History interface {
	Store(ctx context.Context, m history.Message) (version int64, err error)
	Read(ctx context.Context, q history.Query) (history.Page, error)
	Join(ctx context.Context, user, group int64, groups int) (since int64, err error)
	Leave(ctx context.Context, user, group int64) error
	Groups(ctx context.Context, user int64) (map[int64]int64, error)
	Members(ctx context.Context, group int64, limit int) (users []int64, more bool, err error)
}

// Tokens is what the server needs of a *token.Tokens.
type Tokens interface {
	Check(user int64, token string) (left time.Duration, err error)
}

var (
	_ Cluster = (*cluster.Node)(nil)
	_ History = (*history.History)(nil)
)

// Options is what a server needs. The first four are required; of the others zero means the default.
type Options struct {
	Cluster Cluster
	History History
	Tokens  Tokens
	NextID  func() (int64, error) // unique in the whole system; with an error a message's id is its version

	// Quotas bound what one sender may store; nil: nothing does.
	Quotas *quota.Quotas

	Listen          string   // for TCP; default "127.0.0.1:0"
	ListenWebSocket string   // default "127.0.0.1:0"
	Origins         []string // of web pages besides this server's own, as in ws.HandlerOptions; for example "127.0.0.1:*"

	LoginTimeout     time.Duration // from accept to a login that succeeds, and for a request to become a WebSocket; default 10 s
	RequestTimeout   time.Duration // for the work on one request; default 5 s
	IdleTimeout      time.Duration // a session that sends nothing this long ends; default 3 min
	MaxSessions      int           // default 100,000
	MaxSessionsPerIP int           // from one IPv4 address, or IPv6 /64; default no bound
	MessageRate      int           // messages a second that a session may send; beyond it waits. Default no bound
	TLS              *tls.Config   // for both listeners; default no TLS
	LoginRate        float64       // logins a second from one address, ten seconds' worth at once; default no bound
	Logger           *slog.Logger  // default slog.Default(); never what users say
}

var (
	// ErrNoLogin is the reason of a session that did not log in within LoginTimeout.
	ErrNoLogin = errors.New("access: no login in time")

	// ErrTokenEnded is the reason of a session whose token has ended without another.
	ErrTokenEnded = errors.New("access: the token has ended")
)

// ErrCut is the reason of sessions that a server sends away while it cannot serve them.
var ErrCut = errors.New("access: no connection to the other servers")

// A Server is an access server that runs. Its methods may be called by any goroutine.
type Server struct {
	// Immutable after Start.
	o      Options
	mux    *mux.Mux
	libnet *libnet.Server
	http   *http.Server
	web    net.Listener
	logins *limit.Rates
	count  counts
	log    *slog.Logger
	failed *said           // of requests that failed for a fault of this system
	denied *said           // of logins that were refused
	slow   *said           // of logins that were let in late
	ctx    context.Context // of all requests; ends with Kill
	cancel context.CancelFunc

	serving sync.WaitGroup // the two accept loops
	cut     atomic.Bool    // it takes no sessions now

	// mu guards the following.
	mu       sync.Mutex
	over     bool           // no request is begun any more
	requests sync.WaitGroup // those that are being worked on
}

// Start listens and serves. It panics when something required is missing.
func Start(o Options) (*Server, error) {
	if o.Cluster == nil || o.History == nil || o.Tokens == nil || o.NextID == nil {
		panic("access: Start without Cluster, History, Tokens or NextID")
	}
	o = o.withDefaults()
	s := &Server{o: o, log: o.Logger.With("server", o.Cluster.ID())}
	s.failed, s.denied, s.slow = newSaid(s.log, slog.LevelError), newSaid(s.log, slog.LevelWarn), newSaid(s.log, slog.LevelWarn)
	tcp, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("access: %w", err)
	}
	if s.web, err = net.Listen("tcp", o.ListenWebSocket); err != nil {
		_ = tcp.Close()
		return nil, fmt.Errorf("access: %w", err)
	}
	if o.TLS != nil {
		s.web = ws.TLSListener(s.web, o.TLS)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.mux = s.newMux()
	s.logins = limit.NewRates(s.o.LoginRate)
	s.libnet = s.newLibnet(tcp)
	s.http = s.newHTTP()
	s.serving.Go(func() { s.ended("tcp", s.libnet.ServeMessages(libnet.MessageHandlerFunc(s.serve))) })
	s.serving.Go(func() { s.ended("websocket", s.http.Serve(s.web)) })
	return s, nil
}

func (o Options) withDefaults() Options {
	byDefault(&o.Listen, "127.0.0.1:0")
	byDefault(&o.ListenWebSocket, "127.0.0.1:0")
	byDefault(&o.LoginTimeout, 10*time.Second)
	byDefault(&o.RequestTimeout, 5*time.Second)
	byDefault(&o.IdleTimeout, 3*time.Minute)
	byDefault(&o.MaxSessions, 100_000)
	byDefault(&o.Logger, slog.Default())
	return o
}

func byDefault[T comparable](set *T, value T) {
	var zero T
	if *set == zero {
		*set = value
	}
}

const (
	// sendQueue is how many answers and notifications wait for a slow client. A notification that finds no room is
	// dropped: those before it say the same.
	sendQueue = 128

	// linger bounds how long a session that ends waits for its client to end its side, too.
	linger = 2 * time.Second

	// maxHeaderBytes bounds the head of the request that becomes a WebSocket.
	maxHeaderBytes = 16 << 10
)

func (s *Server) newLibnet(l net.Listener) *libnet.Server {
	server := libnet.NewServer(l, wire.MuxProtocol(s.mux), sendQueue)
	server.MaxMessage = wire.MaxMessage
	server.TLSConfig = s.o.TLS
	server.HandshakeTimeout = s.o.LoginTimeout
	server.IdleTimeout = s.o.IdleTimeout
	server.Linger = linger
	server.Logger = s.log
	server.MaxSessions = s.o.MaxSessions
	server.MaxSessionsPerIP = s.o.MaxSessionsPerIP
	server.RateLimit.Messages = s.o.MessageRate
	server.OnSession = s.onSession
	return server
}

func (s *Server) newHTTP() *http.Server {
	paths := http.NewServeMux()
	options := &ws.HandlerOptions{OriginPatterns: s.o.Origins}
	paths.Handle("/ws", ws.MessageHandler(s.libnet, libnet.MessageHandlerFunc(s.serve), options))
	return &http.Server{
		Handler:           paths,
		ReadHeaderTimeout: s.o.LoginTimeout,
		ReadTimeout:       s.o.LoginTimeout, // of a body that nobody reads, too
		WriteTimeout:      s.o.LoginTimeout,
		IdleTimeout:       s.o.LoginTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         limit.HTTP(s.o.MaxSessions, s.o.MaxSessionsPerIP),
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // clients' faults
	}
}

// ended is told how an accept loop ended.
func (s *Server) ended(network string, err error) {
	if err != nil && !errors.Is(err, libnet.ErrServerClosed) && !errors.Is(err, http.ErrServerClosed) {
		s.log.Error("access: no longer accepting", "network", network, "err", err)
	}
}

// Addr is where clients connect, "host:port".
func (s *Server) Addr() string { return s.libnet.Listener().Addr().String() }

// WebSocketURL is where browsers connect.
func (s *Server) WebSocketURL() string {
	scheme := "ws"
	if s.o.TLS != nil {
		scheme = "wss"
	}
	return scheme + "://" + s.web.Addr().String() + "/ws"
}

// Load is how many sessions are open.
func (s *Server) Load() int { return s.libnet.Manager().Len() }

// Stats are libnet's counters of this server's sessions.
func (s *Server) Stats() libnet.ServerStats { return s.libnet.Stats() }

// Drain ends the server without losing anything that was acknowledged: requests that are being worked on are
// answered, what is queued is delivered, and all sessions are ended so that their clients go elsewhere. When ctx ends
// first the rest is cut off, and Drain says so with an error, usually a *libnet.ShutdownError.
//
// The registry should have said before that this server is draining. The cluster node stays open and is the caller's.
func (s *Server) Drain(ctx context.Context) error {
	err := s.libnet.Shutdown(ctx)
	s.end()
	return err
}

// Kill ends the server as a crash does: nothing that is queued is delivered, no request that is under way is answered.
func (s *Server) Kill() {
	s.cancel()
	s.libnet.Stop()
	s.end()
}

// end waits until no goroutine of the server is left. All sessions are closed.
func (s *Server) end() {
	_ = s.http.Close()
	s.serving.Wait()
	s.cancel()
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	s.requests.Wait()
}

// begin has end wait for a request; false when nobody would.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.requests.Add(1)
	}
	return !s.over
}
