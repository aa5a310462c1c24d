package libnet

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libnet-go/libnet/internal/eventloop"
	"github.com/libnet-go/libnet/internal/lock"
	"github.com/libnet-go/libnet/internal/sendqueue"
	"github.com/libnet-go/libnet/internal/sockets"
	"github.com/libnet-go/libnet/internal/usercode"
)

// A Server accepts connections and makes sessions of them. Set its fields before the first call of Accept, Serve,
// ServeMessages or NewSession. All methods may be called by any goroutine. They panic for a zero Server, and for
// settings that contradict each other, such as a Heartbeat.Interval without a Message.
//
// With [Server.Accept] the caller runs each session; with [Server.Serve] the server does, a goroutine
// each; with [Server.ServeMessages] it calls a handler a message.
type Server struct {
	Config

	// TLSConfig makes sessions of accepted connections secure; the handshake takes place on the session's first use,
	// under ServeMessages on Linux before OnSession, never in the accept loop, within HandshakeTimeout. With a
	// KeyLogWriter it is a copy that is used, made with the first connection, whose session tickets have keys of their
	// own.
	TLSConfig *tls.Config

	// MaxSessions and MaxSessionsPerIP bound the open sessions, in all and from one IPv4 address or
	// IPv6 /64 network; 0 means no bound. A connection beyond is closed at once and counted; package ws's Protocol
	// answers it first.
	MaxSessions, MaxSessionsPerIP int

	// ProxyProtocol says which peers are proxies, such as load balancers, that tell whose connection they pass on;
	// default none.
	ProxyProtocol ProxyProtocol

	// OnSession, if set, admits a session before its handler sees it. It may Receive a login and Send an
	// answer, also under ServeMessages. With an error the session is closed for that reason, after what
	// was sent to it has been delivered, and counts as rejected as well as accepted. Serve and ServeMessages
	// call it on a goroutine of the session's own; Accept and NewSession call it themselves, so there it
	// should not wait. HandshakeTimeout bounds how long a login may take.
	OnSession func(*Session) error

	// ServeArrived has Shutdown let each session receive what had arrived, and send its replies, before it is closed to
	// sends: for at most Config.Linger or half the time that the Shutdown has. Of a connection without a descriptor
	// (of package ws's Handler, with TLS under Accept, or one that wraps another) that is what had been read. Without
	// ServeArrived a handler gets no message after the one it is at work on; what arrived behind that is counted in
	// ServerStats.Dropped.
	ServeArrived bool

	// Histograms has the server measure how large the messages are that it receives, how long they are worked on, and
	// how long what is sent waits in its queue: ServerStats.MessageSize, HandlerTime and QueueWait. It costs some 0.1
	// µs a message received and 0.05 µs and 8 bytes a message sent, and so is off by default.
	Histograms bool

	// Immutable after NewServer.
	listener net.Listener
	protocol Protocol
	manager  *Manager
	stopping chan struct{} // closed by the first Stop or Shutdown when it begins
	stopDone chan struct{} // closed by the first that returns
	stopOnce sync.Once

	ownerOnce sync.Once
	owner     *owner // what the sessions share; made with the first of them
	flusher   flusher
	keyLogged atomic.Pointer[guardedTLS]
	log       eventLog
	blocked   atomic.Uint64
	panics    atomic.Uint64
	measures  atomic.Pointer[measures] // nil until the first session, and without Histograms
	refusals  atomic.Int32             // connections that are answered why they are refused
	running   atomic.Int32             // sessions of which ShutdownError.Running tells

	upgradedOnce sync.Once
	upgraded     *messageServer // of package ws's sessions behind net/http; made with the first of them

	lateAccepts atomic.Int32 // calls of Accept after the end, as far as they are counted

	mu lock.Mutex[serverLock]
	// mu guards the following.
	isStopped    bool
	entering     int // connections that are becoming sessions
	open, peak   int
	perIP        map[netip.Addr]int    // nil without MaxSessionsPerIP, as addrs
	addrs        map[uint64]netip.Addr // what perIP counts an open session by
	accepted     uint64
	rejected     uint64
	acceptErrors uint64
	closed       map[string]uint64
	lastClosed   closedRing
	ended        SessionStats      // the sums of closed sessions
	floor        ServerStats       // what Stats has reported
	none         chan struct{}     // closed when no session is open; nil while nobody waits
	adopted      []*Session        // they came from another process, and nobody serves them yet
	paused       *acceptPause      // nil while nobody keeps connections from being accepted
	accepting    bool              // Accept, Serve or ServeMessages was called
	messages     int               // calls of ServeMessages with an event loop
	loops        []*eventloop.Loop // closed when the server has stopped and no session is open
}

type serverLock struct{}

// A Handler runs a session for [Server.Serve]. When ServeSession returns, what the session has queued
// is delivered as [Session.Shutdown] does, and the session is closed; when it panics, the session is
// closed at once with a reason that wraps [ErrPanic].
type Handler interface{ ServeSession(*Session) }

// HandlerFunc lets a plain function be a [Handler].
type HandlerFunc func(*Session)

// ServeSession calls f.
func (f HandlerFunc) ServeSession(s *Session) { f(s) }

// NewServer returns a server on a listener of the caller's, which the server closes when it stops. See
// [Serve] for the rest. It panics without a listener or a protocol.
func NewServer(l net.Listener, protocol Protocol, sendChanSize int) *Server {
	if usercode.IsMissing(l) || usercode.IsMissing(protocol) {
		panic("libnet: NewServer needs a listener and a protocol")
	}
	return &Server{
		Config:   Config{SendQueue: sendChanSize},
		listener: sockets.Wrap(l),
		protocol: protocol,
		manager:  NewManager(),
		stopping: make(chan struct{}),
		stopDone: make(chan struct{}),
		closed:   make(map[string]uint64),
	}
}

// mustBeMade panics for a Server that [NewServer] has not made.
func (srv *Server) mustBeMade() {
	if srv == nil || srv.manager == nil {
		panic("libnet: a zero or nil Server: make one with Serve or NewServer, and set its fields then")
	}
}

// mustTakeSessions panics, too, for settings with which no session could do what is asked of it.
func (srv *Server) mustTakeSessions() {
	srv.mustBeMade()
	if err := srv.check(); err != nil {
		panic(err.Error())
	}
}

// mustBeReady is mustTakeSessions for who is about to accept connections.
func (srv *Server) mustBeReady() {
	srv.mustTakeSessions()
	if c := srv.TLSConfig; c != nil && len(c.Certificates) == 0 && c.GetCertificate == nil && c.GetConfigForClient == nil {
		panic("libnet: Server.TLSConfig has no Certificates, GetCertificate or GetConfigForClient: every handshake would fail")
	}
}

// Listener returns the server's listener. Of one for a Unix socket that [Serve] has made, [Server.Stop] and
// [Server.Shutdown] remove the socket's path, if it is still this socket's: its own Close does not.
func (srv *Server) Listener() net.Listener {
	srv.mustBeMade()
	return sockets.Unwrap(srv.listener)
}

// Protocol returns the protocol that the server was made with.
func (srv *Server) Protocol() Protocol {
	srv.mustBeMade()
	return srv.protocol
}

// Manager returns the manager of the server's open sessions.
func (srv *Server) Manager() *Manager {
	srv.mustBeMade()
	return srv.manager
}

// Stopping returns a channel that is closed when the first Stop or Shutdown begins: from then on the server
// takes no session more, and a load balancer should be told so.
func (srv *Server) Stopping() <-chan struct{} {
	srv.mustBeMade()
	return srv.stopping
}

// Accept waits for the next session. It waits out errors that pass, with a back-off of 5 ms to 1 s, a listener that
// panics or returns no connection among them, and returns [io.EOF] after Stop or Shutdown and other errors of the
// listener as they are, wrapped. A connection whose own methods panic, or take longer than a second, is closed and
// counts as rejected.
func (srv *Server) Accept() (*Session, error) {
	srv.mustBeReady()
	if s := srv.nextAdopted(); s != nil {
		s.goOn()
		return s, nil
	}
	for {
		conn, err := srv.acceptConn()
		if err == nil {
			var s *Session
			if s, err = srv.admitWithin(conn); err == nil {
				err = srv.runOnSession(s)
			}
			if err == nil {
				return s, nil
			}
		}
		if srv.stopped() || err == ErrServerClosed {
			srv.acceptedLate()
			return nil, io.EOF
		}
		if !isRefusal(err) {
			return nil, err
		}
	}
}

// acceptedLate is for an Accept on a server that has stopped.
func (srv *Server) acceptedLate() {
	if srv.lateAccepts.Load() < lateCalls && srv.lateAccepts.Add(1) == lateCalls {
		srv.log.calledLate(srv.logger(), "Accept goes on being called on a server that has stopped: leave the loop at io.EOF")
	}
	if srv.lateAccepts.Load() >= lateCalls {
		time.Sleep(latePause)
	}
}

// Serve accepts sessions and has h run each on a goroutine of its own. It returns [ErrServerClosed] when
// Stop or Shutdown has returned, so that a main function may end then and cut nothing short, or the
// listener's error if that is not one to wait out; sessions then go on.
func (srv *Server) Serve(h Handler) error {
	if usercode.IsMissing(h) {
		panic("libnet: Serve with a nil handler")
	}
	srv.mustBeReady()
	slots := sockets.HandshakeSlots()
	secure := func(conn net.Conn, _ bool) net.Conn { return srv.secureWaiting(conn, slots) }
	return srv.acceptEach(secure, func(s *Session) { go srv.run(s, h) }, func(s *Session) { go s.runHandler(h) })
}

// ServeUntil has serve, in which Serve, ServeMessages or a loop of Accept runs, go on until ctx ends, and then shuts
// the server down, within drain: 10 s where that is 0, and as long as [Server.Shutdown] takes by itself where it is
// negative. It is what a program does that ends at SIGTERM:
//
//	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
//	defer stop()
//	err := srv.ServeUntil(ctx, 10*time.Second, func() error { return srv.ServeMessages(h) })
//
// It shuts the server down, too, when serve returns before, as it does where the listener breaks. It returns when both
// have returned, nil if the listener has not failed and all was delivered, else what serve or Shutdown returned,
// joined. serve runs on the caller's goroutine, and must return once the server has stopped.
func (srv *Server) ServeUntil(ctx context.Context, drain time.Duration, serve func() error) error {
	srv.mustBeMade()
	if serve == nil {
		panic("libnet: ServeUntil with a nil function")
	}
	var left error
	shutdown := sync.OnceFunc(func() { left = srv.shutdownWithin(resolveTime(drain, defaultDrain)) })
	defer context.AfterFunc(sendqueue.NewContext(ctx), shutdown)()
	err := serve()
	shutdown() // or waits for it
	if err == ErrServerClosed || err == io.EOF {
		err = nil
	}
	return errors.Join(err, left)
}

// shutdownWithin is Shutdown with a bound; 0 is none.
func (srv *Server) shutdownWithin(drain time.Duration) error {
	ctx := context.Background()
	if drain > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, drain)
		defer cancel()
	}
	return srv.Shutdown(ctx)
}

// acceptEach passes each session admitted on a connection, as prepare returns it, to start, which may not wait; and
// before these the sessions of another process to adopt.
func (srv *Server) acceptEach(prepare preparing, start, adopt func(*Session)) error {
	if srv.stopped() {
		return ErrServerClosed
	}
	for s := srv.nextAdopted(); s != nil; s = srv.nextAdopted() {
		s.goOn()
		adopt(s)
	}
	for {
		conn, err := srv.acceptConn()
		if err != nil {
			srv.awaitStop()
			return err
		}
		if srv.admitAndStart(conn, prepare, start) == ErrServerClosed {
			srv.awaitStop()
			return ErrServerClosed
		}
	}
}

// run is a served session's goroutine. Its frames stay on the stack while the session waits, so it does
// little itself.
func (srv *Server) run(s *Session, h Handler) {
	defer s.handlerEnded()
	if srv.prepare(s) {
		h.ServeSession(s)
	}
	s.returned = true
}

// prepare does what must not keep the accept loop: a proxy's header, a handshake, admission and the codec.
func (srv *Server) prepare(s *Session) bool {
	if !s.awaitProxyHeader() {
		return false
	}
	if _, first := s.handshakes(); first && !s.initCodec() {
		return false
	}
	if srv.runOnSession(s) != nil {
		return false
	}
	return s.initCodec()
}

// handlerEnded is deferred by run: the handler returned, panicked, or ended its goroutine.
func (s *Session) handlerEnded() {
	if s.returned {
		if s.owner.measures != nil { // else somebody who still receives may be making rare
			s.handled()
		}
		s.handlerReturned()
		return
	}
	if r := recover(); r != nil {
		s.terminate(s.panicked("handler", r))
		return
	}
	s.terminate(ErrSessionClosed)
}

// NewSession makes a session of a connection that came from elsewhere: a WebSocket, a test's pipe. It
// counts as accepted, and all but TLSConfig and ProxyProtocol applies to it. It returns [ErrServerClosed] after Stop or
// Shutdown, [ErrTooManySessions], [ErrTooManySessionsPerIP], OnSession's error, or one that wraps [ErrPanic] where
// conn's own methods panic; conn is then closed.
func (srv *Server) NewSession(conn net.Conn) (*Session, error) {
	srv.mustTakeSessions()
	if isNil(conn) {
		return nil, errors.New("libnet: NewSession with a nil connection")
	}
	s, err := srv.admit(conn, nil)
	if err != nil {
		return nil, err
	}
	if err := srv.runOnSession(s); err != nil {
		return nil, err
	}
	return s, nil
}

// ServeConn has h run a session on a connection that came from elsewhere, as Serve does with one that it
// accepted, and returns when that session has ended. It returns nil, or the error that NewSession would:
// h was then not called, and conn is closed.
func (srv *Server) ServeConn(conn net.Conn, h Handler) error {
	if usercode.IsMissing(h) {
		panic("libnet: ServeConn with a nil handler")
	}
	srv.mustTakeSessions()
	if up, ok := conn.(upgradedConn); ok {
		return srv.serveUpgraded(up, h)
	}
	s, err := srv.NewSession(conn)
	if err != nil {
		return err
	}
	s.runHandler(h)
	return nil
}

func (s *Session) runHandler(h Handler) {
	defer s.handlerEnded()
	if s.initCodec() {
		h.ServeSession(s)
	}
	s.returned = true
}

// secure is for sessions without a goroutine of the server's: the handshake comes with their first use.
func (srv *Server) secure(conn net.Conn, _ bool) net.Conn {
	if config := srv.tlsConfig(); config != nil {
		return tls.Server(conn, config)
	}
	return conn
}

// secureWaiting is for sessions with a goroutine: its first use of the conn does the handshake.
func (srv *Server) secureWaiting(conn net.Conn, slots sockets.Slots) net.Conn {
	if config := srv.tlsConfig(); config != nil {
		return sockets.SecureWaiting(conn, config, slots)
	}
	return conn
}

// tlsConfig is TLSConfig, or what guards its KeyLogWriter: that is made once, for the keys of its session tickets.
func (srv *Server) tlsConfig() *tls.Config {
	of := srv.TLSConfig
	if of == nil || of.KeyLogWriter == nil {
		return of
	}
	if known := srv.keyLogged.Load(); known != nil && known.of == of {
		return known.config
	}
	made := &guardedTLS{of, sockets.GuardKeyLog(of)}
	srv.keyLogged.Store(made)
	return made.config
}

// guardedTLS is a TLSConfig and what is used in its place.
type guardedTLS struct{ of, config *tls.Config }

func (srv *Server) sessionOwner() *owner {
	srv.ownerOnce.Do(func() {
		srv.owner = newOwner(srv.Config, srv.protocol, srv, &srv.flusher)
	})
	if changed := srv.owner.changedBy(&srv.Config); changed != "" {
		srv.log.changedLate(srv.owner.logger(), changed)
	}
	return srv.owner
}
