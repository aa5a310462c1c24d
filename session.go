package libnet

import (
	"crypto/tls"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/libnet-go/libnet/internal/eventloop"
	"github.com/libnet-go/libnet/internal/lock"
	"github.com/libnet-go/libnet/internal/ratelimit"
	"github.com/libnet-go/libnet/internal/readbuf"
	"github.com/libnet-go/libnet/internal/sendqueue"
	"github.com/libnet-go/libnet/internal/sockets"
	"github.com/libnet-go/libnet/internal/usercode"
)

// lastSessionID makes ids unique in a process, whichever server or dialer a session belongs to.
var lastSessionID atomic.Uint64

// A Session is a connection that carries messages. Send, Close and all other methods may be called by
// any goroutine at any time; calls of Receive and ReceiveInto are serialised. A zero Session is none, and its methods panic.
type Session struct {
	// State is the user's; libnet never looks at it.
	State any

	// Immutable after newSession.
	id     uint64
	owner  *owner
	conn   net.Conn            // nil for a session made from a bare codec
	sock   *sockets.Descriptor // nil when conn has no descriptor of its own
	below  syscall.RawConn     // then that of what conn runs on; nil if there is none
	opened time.Time

	// Immutable once hasCodec is set.
	codec    Codec         // nil if the protocol failed to make one; then the session is closed
	parser   FrameParser   // nil for a plain codec
	appender FrameAppender // nil for a plain codec
	turn     chan struct{} // of one place, taken by the one who calls codec.Send; nil for a FrameAppender and a bare codec
	hasCodec atomic.Bool

	recvMu lock.Mutex[receiverLock]
	// recvMu guards the following: they belong to the receiver, and to NewCodec before there is one.
	returned  bool // the handler has returned; belongs to its goroutine, and fills a gap here
	headShort bool // what the clock knows of the incomplete frame may be less than its header
	usualRead readbuf.ReadSize
	seen      uint32          // unread bytes that the codec found to be no whole frame; the largest may be more
	serving   eventloop.State // started in event mode, when nobody may Receive; anybody's
	in        readbuf.Buffer
	parsed    uint64     // messages received
	rare      *rareInput // nil until a plain codec reads; immutable where a rate is limited

	// Written by the receiver, read by anybody.
	read       atomic.Uint64 // bytes received
	received   atomic.Int64  // now() of the last read that brought something
	frameStart atomic.Int64  // now() when an incomplete frame was first waited for; 0 when there is none
	yieldAsked atomic.Bool   // the receiver is to begin the closing when it comes back

	q sendqueue.Queue

	handed handed       // to the handler of an event loop
	state  atomic.Int32 // sessionState; changes under mu
	mu     lock.Mutex[sessionLock]
	// mu guards the following.
	making    codecState
	isCut     bool // a shutdown whose time was up ended it
	ended     bool // nothing more is written; done is closed
	running   bool // the session has ended, and user code of its end, see ShutdownError.Running, has not returned
	reason    error
	done      chan struct{} // made by the first Done; closed by terminate
	made      chan struct{} // closed when making has ended, or the session refuses sends; nil while nobody waits for that
	ending    *ending       // nil until a shutdown, or bytes that were dropped, need it
	callbacks *callback     // the newest; nil while there is none
	clock     *clock        // nil until a timeout or a heartbeat needs it
}

type (
	receiverLock struct{}
	sessionLock  struct{}
)

// owner is what the sessions of one [Server], or of one Dial, share. Immutable once a session has it.
type owner struct {
	Config
	protocol Protocol
	encoding any      // equal for sessions that encode alike; comparable
	limited  bool     // Config.RateLimit limits something
	begun    bool     // something was written before the session was made: a last frame has something to end
	manager  *Manager // nil for a session that is in none
	server   *Server  // nil for a dialled session
	flusher  *flusher // nil for sessions made from a bare codec, which have no receiver to leave a message to
}

func newOwner(c Config, protocol Protocol, srv *Server, f *flusher) *owner {
	o := &owner{Config: c, protocol: protocol, server: srv, flusher: f, limited: c.rateLimit().IsSet()}
	if srv != nil {
		o.manager = srv.manager
	}
	if protocol != nil {
		o.encoding = encodingOf(o)
	}
	return o
}

// rareInput is what only some receivers need.
type rareInput struct {
	plain    plainInput
	throttle *throttle // nil where no rate is limited
}

// A throttle is what the receiver of a session with a rate limit needs.
type throttle struct {
	ratelimit.Throttle
	wake     chan struct{}   // one element: a pause of Receive is over
	loop     *eventloop.Loop // set before serving is started
	paused   bool            // the next message waits
	began    int64           // now() when the pause began; 0 while there is none
	consumed uint64          // bytes of the messages so far, for a plain codec
	ended    atomic.Int64    // now() when the last pause ended; 0: there was none
}

func newThrottle(s *Session) *throttle {
	t := &throttle{wake: make(chan struct{}, 1)}
	t.Init(s.owner.rateLimit(), s.endOfPause)
	return t
}

func (s *Session) plain() *plainInput {
	if s.rare == nil {
		s.rare = new(rareInput)
	}
	return &s.rare.plain
}

// forgetPlain is for who has read in the place of a plain codec.
func (s *Session) forgetPlain() {
	if s.owner.limited {
		s.rare.plain = plainInput{}
		return
	}
	s.rare = nil
}

// NewSession makes a session from a codec that was made elsewhere, over a connection that libnet does
// not see. Send encodes when the message is written: with a sendChanSize over 0, do not change a
// message that Send has taken, nor one whose SendContext returned ctx's error. The timeouts of [Config] need a connection and do not apply.
func NewSession(codec Codec, sendChanSize int) *Session {
	return newBareSession(nil, codec, sendChanSize)
}

func newBareSession(m *Manager, codec Codec, sendChanSize int) *Session {
	if usercode.IsMissing(codec) {
		panic("libnet: NewSession with a nil codec")
	}
	o := newOwner(Config{SendQueue: sendChanSize}, nil, nil, nil)
	o.manager = m
	s := newSession(o, nil)
	s.codec = codec
	s.hasCodec.Store(true)
	return s
}

func newSession(o *owner, conn net.Conn) *Session {
	s := &Session{
		id:     lastSessionID.Add(1),
		owner:  o,
		conn:   conn,
		opened: time.Now(),
	}
	if o.limited {
		s.rare = &rareInput{throttle: newThrottle(s)}
	}
	if conn != nil {
		if s.sock = sockets.Of(conn); s.sock == nil {
			s.below = sockets.Raw(conn)
			s.conn = sockets.TakeTurns(conn)
		}
		tellConn(conn, s)
	}
	return s
}

// mustBeMade panics for a zero Session, where something happens once: what each message passes through gets there first.
func (s *Session) mustBeMade() {
	if s == nil || s.owner == nil {
		panic("libnet: a zero or nil Session: Connect, a Dialer, a Server or NewSession makes one")
	}
}

// ID returns the session's number, unique in the process and never 0.
func (s *Session) ID() uint64 { return s.id }

// Codec returns the session's codec, nil if the protocol failed to make one or the session was closed
// before it did. What is done with it directly does not pass through the session: prefer Send and Receive.
func (s *Session) Codec() Codec {
	if !s.initCodec() {
		return nil
	}
	return s.codec
}

// LocalAddr returns the connection's local address; nil for a session made from a bare codec.
func (s *Session) LocalAddr() net.Addr {
	if s.conn == nil {
		return nil
	}
	return s.conn.LocalAddr()
}

// RemoteAddr returns the peer's address; nil for a session made from a bare codec.
func (s *Session) RemoteAddr() net.Addr {
	if s.conn == nil {
		return nil
	}
	return s.conn.RemoteAddr()
}

// IsClosed reports whether the session takes no more messages: from the first Close, Shutdown, or
// failure on. Receive may still return what arrived before a write failed.
func (s *Session) IsClosed() bool { return s.state.Load() != sessionOpen }

// Err returns nil while the session is open, then why it closed: [ErrSessionClosed] for Close and
// Shutdown on this side, [io.EOF] for an orderly end of the peer, another of this package's errors,
// or the transport's own.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reason
}

// closedErr is Err for the calls that answer a closed session.
func (s *Session) closedErr() error {
	if err := s.Err(); err != nil {
		return err
	}
	return ErrSessionClosed
}

// TLS returns the state of the session's TLS connection, in which the peer's certificates are, and whether
// there is one. It completes the handshake first, so call it where waiting is allowed: in a handler, in
// OnSession under [Server.Serve]. It is false, too, when the handshake fails; Receive then says why.
func (s *Session) TLS() (tls.ConnectionState, bool) {
	conn, ok := s.conn.(interface{ ConnectionState() tls.ConnectionState })
	if !ok {
		return tls.ConnectionState{}, false
	}
	if h, ok := s.conn.(interface{ Handshake() error }); ok && h.Handshake() != nil {
		return tls.ConnectionState{}, false
	}
	state := conn.ConnectionState()
	if state.HandshakeComplete {
		s.admitted(awaitTLS)
	}
	return state, state.HandshakeComplete
}

// tlsIsLate returns what becomes of a session whose handshake of TLS has had its default bound.
func (s *Session) tlsIsLate(c *clock, now int64) error {
	switch {
	case s.tlsBound() == 0:
		c.awaited.And(^awaitTLS)
		return nil
	case s.q.Receiver() != sendqueue.ReceiverWaiting && s.sock == nil && s.inputWaits(): // it is this side that has not begun
		c.from = now
		return nil
	}
	return errNoTLS
}

var errNoTLS = explainedTimeout(ErrHandshakeTimeout, fmt.Sprintf("no handshake of TLS within %v, the bound where "+
	"Config.HandshakeTimeout is 0: the peer may not speak TLS", defaultTLSTimeout))

// tlsBound is how long the handshake of TLS may take by itself: 0 where there is none, or it is over as far as can be told.
func (s *Session) tlsBound() time.Duration {
	if s.owner.server == nil || s.owner.tlsTimeout() == 0 || s.conn == nil || s.owner.begun {
		return 0
	}
	waits := false
	if s.sock != nil {
		waits = s.sock.Layered() && s.sock.PendingHandshake() != nil
	} else if _, is := s.conn.(*tls.Conn); is {
		waits = s.inHandshake()
	}
	if !waits {
		return 0
	}
	return s.owner.tlsTimeout()
}

// handshakeFirst does the handshake of TLS before the first read, which would do it, too, and not say when it is over.
func (s *Session) handshakeFirst() error {
	conn, is := s.conn.(*tls.Conn)
	if !is {
		return nil
	}
	err := conn.Handshake()
	if err == nil {
		s.admitted(awaitTLS)
	}
	return err
}
