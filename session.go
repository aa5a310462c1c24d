package libnet

import (
	"fmt"
	"io"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// lastSessionID makes ids unique in a process, whichever server or dialer a session belongs to.
var lastSessionID atomic.Uint64

// A Session is a connection that carries messages. Send, Close and all other methods may be called by
// any goroutine at any time; calls of Receive and ReceiveInto take turns.
type Session struct {
	// State is the user's; libnet never looks at it.
	State any

	// Immutable after newSession.
	id      uint64
	owner   *owner
	manager *Manager
	conn    net.Conn // nil for a session made from a bare codec
	sock    *socket  // nil when conn has no descriptor of its own
	opened  time.Time

	// Set by initCodec before anybody uses them.
	eventMode bool // the event loop reads; set before the loop knows the session

	codecOnce sync.Once
	codec     Codec         // nil if the protocol failed to make one; then the session is closed
	parser    FrameParser   // nil for a plain codec
	appender  FrameAppender // nil for a plain codec

	recvMu sync.Mutex
	// recvMu guards the following: they belong to the receiver.
	in       input
	parsed   uint64 // messages received
	readErr  error  // what the last read of a plain codec answered, if it failed
	midFrame bool   // a plain codec has read a part of a frame

	// Written by the receiver, read by anybody.
	messagesIn atomic.Uint64
	bytesIn    atomic.Uint64
	received   atomic.Int64 // now() of the last read that brought something
	frameStart atomic.Int64 // now() when an incomplete frame was first waited for; 0 when there is none
	receiver   atomic.Int32 // receiverState
	yieldAsked atomic.Bool  // the receiver is to begin the closing when it comes back

	// sendMu makes a plain codec's Send, and a synchronous Send, one at a time.
	sendMu sync.Mutex
	q      sendQueue

	returned bool         // the handler has returned; belongs to its goroutine
	serving  atomic.Int32 // in event mode: who reads

	state atomic.Int32 // sessionState; changes under mu
	mu    sync.Mutex
	// mu guards the following.
	reason    error
	codecMade bool
	isCut     bool          // a shutdown whose time was up ended it
	ended     bool          // nothing more is written; done is closed
	called    bool          // the close callbacks were taken
	done      chan struct{} // made by the first Done; closed by terminate
	yield     *yield
	callbacks []*callback
	clock     *clock // nil until a timeout or a heartbeat needs it
}

type sessionState = int32

const (
	sessionOpen    sessionState = iota
	sessionClosing              // refuses sends, delivers what is queued
	sessionClosed
)

type receiverState = int32

const (
	receiverAbsent  receiverState = iota // Receive was never called: nobody will come to flush
	receiverWaiting                      // in Receive
	receiverActive                       // between two calls: it will flush before it waits again
)

// owner is what the sessions of one [Server], or of one Dial, share. Immutable once a session has it.
type owner struct {
	Config
	protocol Protocol
	encoding any      // equal for sessions that encode alike; comparable
	server   *Server  // nil for a dialled session
	flusher  *flusher // nil: a session's send loop is started at once
}

func newOwner(c Config, protocol Protocol, srv *Server, f *flusher) *owner {
	o := &owner{Config: c, protocol: protocol, server: srv, flusher: f}
	if protocol != nil {
		o.encoding = encodingOf(o)
	}
	return o
}

// NewSession makes a session from a codec that was made elsewhere, over a connection that libnet does
// not see. Send encodes when the message is written: with a sendChanSize over 0, do not change a
// message that Send has taken. The timeouts of [Config] need a connection and do not apply.
func NewSession(codec Codec, sendChanSize int) *Session {
	return newBareSession(nil, codec, sendChanSize)
}

func newBareSession(m *Manager, codec Codec, sendChanSize int) *Session {
	if codec == nil {
		panic("libnet: NewSession with a nil codec")
	}
	s := newSession(newOwner(Config{SendQueue: sendChanSize}, nil, nil, nil), nil, m)
	s.codecOnce.Do(func() { s.codec = codec })
	return s
}

func newSession(o *owner, conn net.Conn, m *Manager) *Session {
	s := &Session{
		id:      lastSessionID.Add(1),
		owner:   o,
		manager: m,
		conn:    conn,
		opened:  time.Now(),
	}
	if conn != nil {
		s.sock = newSocket(conn)
	}
	return s
}

// initCodec has the protocol make the codec, in the goroutine that first needs it.
func (s *Session) initCodec() { s.codecOnce.Do(s.makeCodec) }

func (s *Session) makeCodec() {
	codec, err := s.newCodec()
	if err != nil {
		s.terminate(err)
		return
	}
	s.codec = codec
	parser, canParse := codec.(FrameParser)
	appender, canAppend := codec.(FrameAppender)
	if canParse {
		s.parser = parser
	}
	if canAppend {
		s.appender = appender
	}
	s.mu.Lock()
	s.codecMade = true
	closed := s.state.Load() == sessionClosed
	s.mu.Unlock()
	if closed {
		_ = s.closeCodec()
	}
}

func (s *Session) newCodec() (codec Codec, err error) {
	defer s.recovered("protocol", &err)
	codec = s.owner.protocol.NewCodec(stream{s})
	if codec == nil {
		err = fmt.Errorf("%w: the protocol made no codec", ErrPanic)
	}
	return codec, err
}

// ID returns the session's number, unique in the process and never 0.
func (s *Session) ID() uint64 { return s.id }

// Codec returns the session's codec, nil if the protocol failed to make one. What is done with it
// directly does not pass through the session: prefer Send and Receive.
func (s *Session) Codec() Codec {
	s.initCodec()
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
// failure on.
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

// Receive waits for the next message and returns it in a slice of its own. It has no bound in time
// but Config's timeouts and Close. Any error has closed the session; it is the session's [Session.Err],
// among them io.EOF when the peer ended between two frames. Messages that arrived before the end are
// returned first. Calls take turns.
func (s *Session) Receive() ([]byte, error) {
	s.beginReceive()
	payload, err := s.next()
	if err != nil {
		s.recvMu.Unlock()
		return nil, s.fail(err)
	}
	if s.parser != nil {
		payload = append(make([]byte, 0, len(payload)), payload...)
	}
	s.recvMu.Unlock()
	return payload, nil
}

// ReceiveInto is [Session.Receive] into buf[:0], which grows if it must: with a large enough buf it
// allocates nothing.
func (s *Session) ReceiveInto(buf []byte) ([]byte, error) {
	s.beginReceive()
	payload, err := s.next()
	if err != nil {
		s.recvMu.Unlock()
		return buf[:0], s.fail(err)
	}
	buf = append(buf[:0], payload...)
	s.recvMu.Unlock()
	return buf, nil
}

// beginReceive makes the caller the receiver, until it unlocks recvMu.
func (s *Session) beginReceive() {
	if s.eventMode {
		panic("libnet: Receive on a session of ServeMessages")
	}
	s.initCodec()
	s.recvMu.Lock()
}

// next returns the next message: a part of the input buffer, or the slice a plain codec returned.
func (s *Session) next() ([]byte, error) {
	if s.state.Load() != sessionOpen || s.yieldAsked.Load() && s.yieldNow() {
		return nil, s.closedErr()
	}
	if s.parser == nil {
		return s.nextPlain()
	}
	for {
		if s.in.r < s.in.w {
			payload, n, err := s.parse()
			if err != nil {
				return nil, err
			}
			if n > 0 {
				s.in.advance(n)
				s.countMessage()
				return payload, nil
			}
		}
		inFrame := s.in.r < s.in.w
		if err := s.fill(inFrame); err != nil {
			if err == io.EOF && inFrame {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

// parse cuts a frame from the input. n == 0 says that its end has not arrived.
func (s *Session) parse() (payload []byte, n int, err error) {
	defer s.recovered("codec", &err)
	src := s.in.unread()
	payload, n, err = s.parser.ParseFrame(src)
	if err == nil && (n < 0 || n > len(src)) {
		err = fmt.Errorf("%w: the codec cut %d bytes from %d", ErrPanic, n, len(src))
	}
	if err == nil && n == 0 && len(src) > s.maxFrame() {
		err = ErrFrameTooLarge
	}
	return payload, n, err
}

// nextPlain asks a codec that knows only io.Reader.
func (s *Session) nextPlain() (payload []byte, err error) {
	defer s.recovered("codec", &err)
	s.midFrame, s.readErr = false, nil
	payload, err = s.codec.Receive()
	switch {
	case err == io.EOF && s.midFrame && s.conn != nil:
		return nil, io.ErrUnexpectedEOF
	case err != nil:
		return nil, err
	case s.readErr != nil && len(payload) == 0:
		// The codec kept the end of the stream to itself and would do so for ever.
		return nil, s.readErr
	case len(payload) > s.maxFrame():
		return nil, ErrFrameTooLarge
	}
	s.countMessage()
	return payload, nil
}

// countMessage counts a message. Others learn of it when the receiver next reads, but of the first at
// once, and of a frame's end: timeouts hang on these.
func (s *Session) countMessage() {
	s.parsed++
	if s.parsed == 1 || s.conn == nil {
		s.messagesIn.Store(s.parsed)
	}
	if s.frameStart.Load() != 0 {
		s.frameStart.Store(0)
	}
}

// frameRoom is what a frame may hold beyond its message where libnet cannot tell the two apart.
const frameRoom = 64

// maxFrame bounds a frame by what the user set. A codec that can parse has bounds of its own.
func (s *Session) maxFrame() int {
	switch limit := s.owner.maxMessage(); {
	case limit == 0 || s.owner.MaxMessage == 0 && s.parser != nil:
		return math.MaxInt
	default:
		return limit + frameRoom
	}
}
