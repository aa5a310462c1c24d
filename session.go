package libnet

import (
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
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

// A Session is a connection that carries messages. Send, Close and all other methods may be called by any goroutine at
// any time; calls of Receive and ReceiveInto are serialised. A zero Session is none, and its methods panic.
type Session struct {
	// State is the user's; libnet never looks at it.
	State any

	// Immutable after newSession.
	id     uint64
	owner  *owner
	conn   net.Conn            // nil for a session made from a bare codec
	sock   *sockets.Descriptor // nil when conn has no descriptor of its own
	opened time.Time

	// Immutable once framed is set.
	codec  Codec                   // nil if the protocol failed to make one; then the session is closed
	framed atomic.Pointer[framing] // nil while there is no codec

	recvMu lock.Mutex[receiverLock]
	// recvMu guards the following: they belong to the receiver, and to NewCodec before there is one.
	returned  bool // the handler has returned; belongs to its goroutine, and fills a gap here
	headShort bool // what the clock knows of the incomplete frame may be less than its header
	usualRead readbuf.ReadSize
	serving   eventloop.State // started in event mode, when nobody may Receive; anybody's
	in        readbuf.Buffer
	parsed    uint64     // messages received
	rare      *rareInput // nil until a plain codec reads; immutable where a rate is limited, or something measured

	// Written by the receiver, read by anybody.
	read       atomic.Uint64 // bytes received
	received   atomic.Int64  // now() of the last read that brought something
	frameStart atomic.Int64  // now() when an incomplete frame was first waited for; 0 when there is none
	yieldAsked atomic.Bool   // the receiver is to begin the closing when it comes back
	burst      burst         // the receiver's own, and fills a gap here

	q sendqueue.Queue

	handed handed       // to the handler of an event loop
	state  atomic.Int32 // sessionState; changes under mu
	mu     lock.Mutex[sessionLock]
	// mu guards the following.
	making    codecState
	marks     marks
	ended     bool      // nothing more is written; done is closed
	running   bool      // the session has ended, and user code of its end, see ShutdownError.Running, has not returned
	extras    *extras   // nil until something in it is needed; made with a session whose conn has no descriptor of its own
	callbacks *callback // the newest; nil while there is none
	clock     *clock    // nil until a timeout or a heartbeat needs it
}

// marks are some of a session's, in one byte.
type marks uint8

const (
	markCut       marks = 1 << iota // a shutdown whose time was up ended it
	markAdmitting                   // OnSession is at work
	markCounted                     // what it has received and dropped is counted to the last
	markMute                        // the reason of its end, which is the user's, did not say what its close frame is to
)

type (
	receiverLock struct{}
	sessionLock  struct{}
)

// owner is what the sessions of one [Server], or of one Dial, share. Immutable once a session has it.
type owner struct {
	Config
	protocol Protocol
	encoding any       // equal for sessions that encode alike; comparable
	limited  bool      // Config.RateLimit limits something
	proxies  bool      // Server.ProxyProtocol trusts somebody
	measures *measures // nil without Server.Histograms
	begun    bool      // something was written before the session was made: a last frame has something to end
	limit    sendqueue.Limit
	manager  *Manager // nil for a session that is in none
	server   *Server  // nil for a dialled session
	flusher  *flusher // nil for sessions made from a bare codec, which have no receiver to leave a message to

	handler MessageHandler // of package ws's sessions behind net/http; nil for others

	framing atomic.Pointer[framing] // what a codec that shares its had last; nil before the first
}

func newOwner(c Config, protocol Protocol, srv *Server, f *flusher) *owner {
	o := &owner{Config: c, protocol: protocol, server: srv, flusher: f, limited: c.rateLimit().IsSet()}
	o.limit = sendqueue.Limit{Messages: o.sendQueue(), Bytes: o.sendQueueBytes(), Drop: o.OnFull == DropOldest}
	if f != nil {
		o.limit.Busy = &f.busy
	}
	if srv != nil {
		o.manager, o.measures = srv.manager, srv.measuring()
		o.proxies = srv.ProxyProtocol.isOn()
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

	handedAt atomic.Int64 // now() when a message was handed over whose handler has not returned; 0: there is none, or none is measured
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
	if s.owner.limited || s.owner.measures != nil {
		s.rare.plain = plainInput{}
		return
	}
	s.rare = nil
}

// NewSession makes a session from a codec that was made elsewhere, over a connection that libnet does not see. Send
// encodes when the message is written: with a sendChanSize over 0, do not change a message that Send has taken, nor one
// whose SendContext returned ctx's error. The timeouts of [Config] need a connection and do not apply.
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
	s.framed.Store(&noFraming)
	return s
}

func newSession(o *owner, conn net.Conn) *Session {
	return newNumberedSession(o, conn, lastSessionID.Add(1))
}

func newNumberedSession(o *owner, conn net.Conn, id uint64) *Session {
	s := &Session{
		id:     id,
		owner:  o,
		conn:   conn,
		opened: time.Now(),
	}
	if o.limited || o.measures != nil {
		s.rare = new(rareInput)
	}
	if o.limited {
		s.rare.throttle = newThrottle(s)
	}
	if m := o.measures; m != nil {
		s.q.MeasureWaits(m.waits, s.id)
	}
	if conn != nil {
		if s.sock = sockets.Of(conn); s.sock == nil {
			s.extras = &extras{below: sockets.Raw(conn), reading: make(chan struct{}, 1)}
			if s.extras.below == nil {
				s.conn = sockets.TakeTurns(conn)
			}
		}
		tellConn(conn, s)
	}
	return s
}

// mustBeMade panics for a zero Session, where something happens once: what each message passes through gets there
// first.
func (s *Session) mustBeMade() {
	if s == nil || s.owner == nil {
		panic("libnet: a zero or nil Session: Connect, a Dialer, a Server or NewSession makes one")
	}
}

// ID returns the session's number, unique in the process and never 0.
func (s *Session) ID() uint64 { return s.id }

// maxName is the longest name of a session in bytes.
const maxName = 128

// SetName gives the session a name for people to find it by: of the user who has logged in, of a device. The lines of
// its end in the log have it, [Server.LastClosed], and package monitor; libnet itself never looks a session up by it.
// It may come from the peer: it is made printable where it is shown, and of one that is longer than 128 bytes the whole
// characters at the beginning are kept. An empty one takes the name back.
func (s *Session) SetName(name string) {
	name = strings.Clone(usercode.Cut(name, maxName)) // not to keep the message that it may be a part of
	s.mu.Lock()
	defer s.mu.Unlock()
	if name != "" || s.extras != nil {
		s.extrasLocked().name = name
	}
}

// Name returns what [Session.SetName] was given last; empty without one.
func (s *Session) Name() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.extras == nil {
		return ""
	}
	return s.extras.name
}

// Codec returns the session's codec, nil if the protocol failed to make one or the session was closed
// before it did. What is done with it directly does not pass through the session: prefer Send and Receive.
func (s *Session) Codec() Codec {
	if !s.initCodec() {
		return nil
	}
	return s.codec
}

// Config returns the session's settings, as its Server or Dialer had them when the first session was made: for packages
// that build on sessions, and need some.
func (s *Session) Config() Config {
	s.mustBeMade()
	return s.owner.Config
}

// LocalAddr returns the connection's local address; nil for a session made from a bare codec.
func (s *Session) LocalAddr() net.Addr {
	if s.conn == nil {
		return nil
	}
	return s.conn.LocalAddr()
}

// RemoteAddr returns the peer's address; nil for a session made from a bare codec. Behind a proxy of
// [Server.ProxyProtocol] it is the client's, once the proxy's header has been read, for which it does not wait.
func (s *Session) RemoteAddr() net.Addr {
	if s.conn == nil {
		return nil
	}
	if client := s.client(); client.IsValid() {
		return net.TCPAddrFromAddrPort(client)
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
	return s.reasonLocked()
}

func (s *Session) reasonLocked() error {
	if s.extras == nil {
		return nil
	}
	return s.extras.ended
}

// closedErr is Err for the calls that answer a closed session.
func (s *Session) closedErr() error {
	if err := s.Err(); err != nil {
		return err
	}
	return ErrSessionClosed
}

// TLS returns the state of the session's TLS connection, in which the peer's certificates are, and whether there is
// one. It completes the handshake, and what a proxy says before that, first, so call it where waiting is allowed: in a
// handler, in OnSession under [Server.Serve]. It is false, too, when the handshake fails; Receive then says why.
func (s *Session) TLS() (tls.ConnectionState, bool) {
	conn, ok := s.conn.(interface{ ConnectionState() tls.ConnectionState })
	if !ok || s.proxyHeader() != nil {
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

// A ConnInfo says how a session is connected.
type ConnInfo struct {
	// Transport is tcp, unix, tls, ws (a WebSocket), wss (one over TLS), or other: a connection of the user's, whatever
	// that runs on, or none.
	Transport string

	// TLSVersion and CipherSuite are as crypto/tls numbers them; 0 without TLS, and until something was received or
	// written.
	TLSVersion, CipherSuite uint16

	// RTT is the kernel's estimate of the round-trip time to the peer; 0 where it has none. Only Linux tells, and only
	// of TCP.
	RTT time.Duration
}

// ConnInfo looks at the session's connection. Unlike [Session.TLS] it does not wait for a handshake. It makes a system
// call, and calls methods of a conn of the user's, which may wait or panic.
func (s *Session) ConnInfo() ConnInfo {
	info := ConnInfo{Transport: "other"}
	if s.conn == nil {
		return info
	}
	secure := false
	info.TLSVersion, info.CipherSuite, secure = s.tlsInfo()
	switch web := s.isWebSocket(); {
	case web && secure:
		info.Transport = "wss"
	case web:
		info.Transport = "ws"
	case secure:
		info.Transport = "tls"
	default:
		switch s.conn.RemoteAddr().(type) {
		case *net.TCPAddr:
			info.Transport = "tcp"
		case *net.UnixAddr:
			info.Transport = "unix"
		}
	}
	info.RTT = sockets.RTT(s.descriptor())
	return info
}

// isWebSocket reports whether package ws frames the session's messages.
func (s *Session) isWebSocket() bool {
	if _, ok := s.conn.(sessionConn); ok {
		return true
	}
	if _, ok := s.owner.protocol.(handshakeProtocol); ok {
		return true
	}
	if !s.hasCodec() {
		return false
	}
	_, ok := s.parser().(partParser)
	return ok
}

// tlsInfo is what TLS has agreed on, and whether there is TLS. A conn of crypto/tls would keep who asks before its
// handshake is over, which it is once it has carried something.
func (s *Session) tlsInfo() (version, suite uint16, secure bool) {
	conn, ok := s.conn.(interface{ ConnectionState() tls.ConnectionState })
	if !ok {
		return 0, 0, false
	}
	_, upgraded := s.conn.(sessionConn) // which has come through TLS, if there is any
	if !upgraded && s.read.Load() == 0 && s.q.Counters().BytesOut == 0 {
		return 0, 0, sockets.IsTLS(s.conn) || s.sock != nil && s.sock.Layered()
	}
	state := conn.ConnectionState()
	return state.Version, state.CipherSuite, state.Version != 0
}

// tlsIsLate returns what becomes of a session whose handshake of TLS has had its default bound.
func (s *Session) tlsIsLate(c *clock, now int64) error {
	switch {
	case s.tlsBound() == 0:
		c.awaited.And(^awaitTLS)
		return nil
	case s.q.Receiver() == sendqueue.ReceiverAbsent && s.shookHands():
		c.awaited.And(^awaitTLS)
		return nil
	case s.q.Receiver() != sendqueue.ReceiverWaiting && (s.sock == nil || s.sock.AwaitsUse()) && s.inputWaits(): // it is this side that has not begun
		c.from = now
		return nil
	}
	return errNoTLS
}

// shookHands reports whether the handshake of TLS is over, which it may have been before libnet got the conn. While
// somebody is at it, crypto/tls keeps who asks waiting.
func (s *Session) shookHands() bool {
	conn, ok := s.conn.(interface{ ConnectionState() tls.ConnectionState })
	if !ok || s.sock != nil {
		return false
	}
	over := false
	return within(codecPatience, func() { over = conn.ConnectionState().HandshakeComplete }) && over
}

var errNoTLS = explainedTimeout(ErrHandshakeTimeout, fmt.Sprintf("no handshake of TLS within %v, the bound where "+
	"Config.HandshakeTimeout is 0: the peer may not speak TLS", sockets.TLSTimeout))

// tlsBound is how long the handshake of TLS may take by itself: 0 where there is none, or it is over as far as can be
// told.
func (s *Session) tlsBound() time.Duration {
	if s.owner.server == nil || s.owner.tlsTimeout() == 0 || s.conn == nil || s.owner.begun {
		return 0
	}
	waits := false
	if s.sock != nil {
		waits = s.sock.Layered() && s.sock.PendingHandshake() != nil
	} else if sockets.IsTLS(s.conn) {
		waits = s.inHandshake()
	}
	if !waits {
		return 0
	}
	return s.owner.tlsTimeout()
}

// handshakeFirst does the handshake of TLS before the first read, which would do it, too, and not say when it is over.
func (s *Session) handshakeFirst() error {
	if !sockets.IsTLS(s.conn) {
		return nil
	}
	err := s.conn.(interface{ Handshake() error }).Handshake()
	if err == nil {
		s.admitted(awaitTLS)
	}
	return err
}
