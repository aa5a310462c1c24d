package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	// routePing × (routePings + 1) is how long a dead route goes unnoticed. The server's own 30 s × 2 are
	// far too slow for presence.
	routePing  = time.Second
	routePings = 2

	// maxPayload lets through a message of libnet's default bound, with what this package adds.
	maxPayload = 1<<20 + 64

	serverStart = 10 * time.Second // an embedded server is ready within milliseconds, or not at all
)

// A Server is an embedded NATS server. Each node has one of its own unless Options.Servers says otherwise;
// one made by [NewServer] serves several nodes, of this process or of this machine. All methods may be called
// by any goroutine.
type Server struct {
	nats  *server.Server
	token string
}

// NewServer starts a server. Of o it uses Cluster, NodeID, Listen, Routes, TLS, Secret, JetStreamDir and
// Logger. Clients reach it on a loopback address that the system chooses, with a random token: see
// [Server.URL]. It returns when the server takes connections, or why it does not within 10 s; ctx bounds it, too,
// and has no effect afterwards.
func NewServer(ctx context.Context, o Options) (*Server, error) {
	ctx = usersContext(ctx)
	if len(o.Servers) > 0 {
		return nil, errors.New("cluster: a server that connects to Options.Servers")
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	return startServer(ctx, o)
}

func startServer(ctx context.Context, o Options) (*Server, error) {
	token := rand.Text()
	settings, err := serverSettings(o, token)
	if err != nil {
		return nil, err
	}
	s, err := server.NewServer(settings)
	if err != nil {
		return nil, fmt.Errorf("cluster: embedded server: %w", err)
	}
	log := &serverLog{logger: o.logger()}
	s.SetLoggerV2(log, false, false, false)
	s.Start()
	if err := log.ready(ctx, s); err != nil {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, fmt.Errorf("cluster: embedded server: %w", err)
	}
	return &Server{nats: s, token: token}, nil
}

// ready waits until s takes connections, or has logged why it never will.
func (l *serverLog) ready(ctx context.Context, s *server.Server) error {
	const look = 25 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, serverStart)
	defer cancel()
	for ctx.Err() == nil {
		if s.ReadyForConnections(look) {
			return nil
		}
		if reason := l.fatal.Load(); reason != nil {
			return errors.New(*reason)
		}
	}
	return ctx.Err()
}

func serverSettings(o Options, token string) (*server.Options, error) {
	// DontListen would be safer still, but a server without a client port never takes part in a cluster,
	// and does not say so.
	settings := &server.Options{
		ServerName:    o.serverName(),
		Host:          "127.0.0.1",
		Port:          -1,
		Authorization: token,
		NoSigs:        true,
		MaxPayload:    maxPayload,
	}
	if o.JetStreamDir != "" {
		settings.JetStream = true
		settings.StoreDir = o.JetStreamDir
		settings.DisableJetStreamBanner = true
	}
	if o.Listen == "" {
		return settings, nil
	}
	host, port, err := splitAddress(o.Listen)
	if err != nil {
		return nil, err
	}
	if port == 0 {
		port = -1
	}
	settings.Cluster = server.ClusterOpts{
		Name:         strings.ReplaceAll(o.cluster(), " ", "_"),
		Host:         host,
		Port:         port,
		TLSConfig:    o.TLS,
		PingInterval: routePing,
		MaxPingsOut:  routePings,
	}
	if o.Secret != "" {
		settings.Cluster.Username, settings.Cluster.Password = routeUser, o.Secret
	}
	settings.Routes, err = o.routeURLs()
	return settings, err
}

// serverName is random, so that a node that comes back is not refused while the others still have a route to
// the one that crashed; only clustered JetStream must know its servers again.
func (o *Options) serverName() string {
	if o.NodeID != "" && o.JetStreamDir != "" {
		return token(o.NodeID)
	}
	return rand.Text()
}

// URL is where clients connect, with the token that lets them; for Options.Servers, also of nodes in other
// processes of this machine. Keep it as secret as Options.Secret.
func (s *Server) URL() string {
	return "nats://" + s.token + "@" + net.JoinHostPort("127.0.0.1", strconv.Itoa(s.nats.Addr().(*net.TCPAddr).Port))
}

// RouteAddr is where the server takes routes of others, nil without Options.Listen.
func (s *Server) RouteAddr() net.Addr {
	if addr := s.nats.ClusterAddr(); addr != nil {
		return addr
	}
	return nil
}

// Close stops the server and returns nil when it has stopped. Its nodes are then without a connection. A second
// call changes nothing.
func (s *Server) Close() error {
	s.nats.Shutdown()
	s.nats.WaitForShutdown()
	return nil
}

// connectOptions are those of a client in the same process.
func (s *Server) connectOptions() []nats.Option {
	return []nats.Option{nats.InProcessServer(s.nats), nats.Token(s.token)}
}

// serverLog gives what an embedded server has to say to slog: what it calls a notice is detail here.
type serverLog struct {
	logger *slog.Logger
	fatal  atomic.Pointer[string] // why it did not start
}

func (l *serverLog) write(level slog.Level, format string, v []any) {
	if l.logger.Enabled(context.Background(), level) {
		l.logger.Log(context.Background(), level, "cluster: embedded NATS", "text", fmt.Sprintf(format, v...))
	}
}

func (l *serverLog) Noticef(format string, v ...any) { l.write(slog.LevelDebug, format, v) }
func (l *serverLog) Debugf(format string, v ...any)  { l.write(slog.LevelDebug, format, v) }
func (l *serverLog) Tracef(format string, v ...any)  { l.write(slog.LevelDebug, format, v) }
func (l *serverLog) Warnf(format string, v ...any)   { l.write(slog.LevelWarn, format, v) }
func (l *serverLog) Errorf(format string, v ...any)  { l.write(slog.LevelError, format, v) }

// Fatalf does not end the process: the server that called it does not become ready, and New fails.
func (l *serverLog) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.fatal.Store(&text)
	l.write(slog.LevelError, format, v)
}
