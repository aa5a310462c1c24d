package libnet

import (
	"io"
	"math"
	"net"
	"time"

	"github.com/libnet-go/libnet/internal/inside"
	"github.com/libnet-go/libnet/internal/ratelimit"
	"github.com/libnet-go/libnet/internal/sockets"
	"github.com/libnet-go/libnet/internal/usercode"
)

// What the framing of package ws has beyond that of others: a handshake before the first frame, frames that are no
// messages, messages of several frames, and a frame that ends the stream. All of it is optional, and no user's: a
// method that takes an inside.Call can only be one of this module's.
type (
	// A handshakeProtocol's sessions begin with a handshake, before OnSession where that may wait.
	handshakeProtocol interface {
		// Handshake reads the peer's part from rw and makes the codec; what lies behind it stays unread. The answer is
		// written in any case: with an error it is all that the peer gets. Nothing else is written before.
		Handshake(rw io.ReadWriter, _ inside.Call) (codec Codec, answer []byte, err error)
	}

	// A partParser is a [FrameParser] whose frames are not a message each: ParseFrame returns a nil payload for one
	// that is none, or that does not end a message. It may change src where it returns n > 0, since it gets those bytes
	// once. With an error n is the length of the frame that ends the stream.
	partParser interface {
		// InMessage reports whether a message has begun that the frames so far do not end.
		InMessage(inside.Call) bool

		// PeerClosed reports whether the peer has said that nothing follows. An end of the connection without is not
		// orderly.
		PeerClosed(inside.Call) bool
	}

	// A movingCodec's sessions can move to another process though it knows more than its protocol: that makes it there
	// from what Moves returns. It is called between two messages.
	movingCodec interface {
		Moves(inside.Call) (state []byte, ok bool)
	}
	movingProtocol interface {
		Moved(rw io.ReadWriter, state []byte, _ inside.Call) (Codec, error)
	}

	// A closingCodec's sessions end with a frame that tells why.
	closingCodec interface {
		// CloseFrame may be called by any goroutine, and more than once; one of what it returns is written at the most.
		CloseFrame(reason error, _ inside.Call) []byte
	}
)

// handshakes returns the session's protocol if that begins with a handshake, which is a server's matter.
func (s *Session) handshakes() (handshakeProtocol, bool) {
	if s.owner.server == nil {
		return nil, false
	}
	p, ok := s.owner.protocol.(handshakeProtocol)
	return p, ok
}

// handshakeFailed is the error of a handshake whose peer has been answered.
type handshakeFailed struct{ error }

// handshake makes the codec of a session that begins with a handshake. It holds recvMu, as whoever makes a codec.
func (s *Session) handshake(p handshakeProtocol) (Codec, error) {
	codec, answer, err := p.Handshake(stream{s}, inside.Call{})
	s.forgetPlain()
	s.frameStart.Store(0)
	sockets.LetGo(s.conn) // nobody else waits in it: there is no codec yet
	if len(answer) > 0 {
		s.writeAnswer(answer)
		if err != nil {
			err = &handshakeFailed{err}
		}
	}
	return codec, err
}

// writeAnswer writes at once what a kernel's empty buffer takes.
func (s *Session) writeAnswer(answer []byte) {
	if by, err := s.q.Write(answer, 0, math.MaxInt, true); err == nil {
		s.flushBy(by)
	}
	if s.q.Begin() {
		s.flushNow()
	}
}

// deliverInBackground ends a session that refuses sends, after what is queued for it, and does not wait for that.
func (s *Session) deliverInBackground(reason error) { go s.deliver(reason) }

// skips reports whether a nil payload is no message.
func (s *Session) skips() bool {
	_, is := s.parser().(partParser)
	return is
}

// maxControlFrame is the length of the longest control frame (RFC 6455, 5.5).
const maxControlFrame = 2 + 4 + 125

// tookNoMessage notes that a frame of n bytes was cut that was no message, or not the last of one; false if the session
// has ended and its counters are final. For a rate limit a small one counts as a message: else there would be no bound
// on how many come.
func (s *Session) tookNoMessage(n int) bool {
	if !s.handOver() {
		return false
	}
	if s.inMessage() {
		s.plain() // what is rare has the codec look at each frame from now on: it knows what may follow
	}
	messages := 0
	if n <= maxControlFrame {
		messages = 1
	}
	s.noteRate(messages, n)
	if s.frameStart.Load() != 0 && !s.inMessage() {
		s.frameStart.Store(0)
	}
	return true
}

// inFrame reports whether what has arrived ends within a frame, or a message.
func (s *Session) inFrame() bool { return !s.in.Empty() || s.inMessage() }

func (s *Session) inMessage() bool {
	p, ok := s.parser().(partParser)
	return ok && p.InMessage(inside.Call{})
}

// mayEnd reports whether an end of the connection is an orderly one now.
func (s *Session) mayEnd() bool {
	if p, ok := s.parser().(partParser); ok {
		return p.PeerClosed(inside.Call{})
	}
	return s.in.Empty()
}

// closeFrame returns the frame that ends the session's stream, nil if there is none. The reason may be the user's.
func (s *Session) closeFrame(reason error) (frame []byte) {
	if s.conn == nil || !s.hasCodec() {
		return nil
	}
	c, ok := s.codec.(closingCodec)
	switch {
	case !ok:
	case ownershipOf(reason) == ownText:
		frame = c.CloseFrame(reason, inside.Call{})
	default:
		frame = s.closeFrameOf(c, reason)
	}
	return frame
}

// closeFrameOf is closeFrame for a reason whose own methods may do anything. One that does not answer is told as an
// internal error, as one that panics, and is not asked again: a shutdown asks as it begins, and perhaps when it ends.
func (s *Session) closeFrameOf(c closingCodec, reason error) []byte {
	s.mu.Lock()
	mute := s.marks&markMute != 0
	s.mu.Unlock()
	if !mute {
		frame, ok := usercode.AnswerWithin(cutPatience, func() []byte { return c.CloseFrame(reason, inside.Call{}) })
		if ok {
			return frame
		}
		s.mu.Lock()
		s.marks |= markMute
		s.mu.Unlock()
	}
	return c.CloseFrame(ErrPanic, inside.Call{})
}

const (
	// lastFrameWait is how long an end waits for a flush that is under way, so that its last frame is not within
	// another.
	lastFrameWait = 50 * time.Millisecond

	// lastFrameTimeout is how long the last frame may wait for room where a write cannot do without waiting.
	lastFrameTimeout = 100 * time.Millisecond

	// lingerTimeout is how long a connection is read on after its last frame: closed with input unread, it would be
	// reset, and the peer might never see that frame.
	lingerTimeout = 500 * time.Millisecond

	// firstLook is when a connection that lingers is looked at first; each time is twice as long.
	firstLook = 5 * time.Millisecond
)

// writeCloseFrame writes the frame that tells the peer why the session ends, unless that is done, or the stream ends
// within a frame. It reports whether the connection is closed in the background.
func (s *Session) writeCloseFrame(reason error) (lingers bool) {
	switch {
	case s.q.LastIsOut():
		return s.closeLater()
	case s.conn == nil || !s.takesLast():
		return false
	}
	frame := s.closeFrame(reason)
	return len(frame) > 0 && s.writeLast(frame) && s.closeLater()
}

func (s *Session) takesLast() bool {
	if !s.hasCodec() {
		return false
	}
	if _, has := s.codec.(closingCodec); !has {
		return false
	}
	now, soon := s.q.TakesLast(s.owner.begun)
	if !soon {
		return now
	}
	if idle := s.q.Idle(); idle != nil {
		closedWithin(idle, lastFrameWait)
	}
	now, _ = s.q.TakesLast(s.owner.begun)
	return now
}

// writeLast reports whether the whole frame was written. It does not wait at a descriptor.
func (s *Session) writeLast(frame []byte) (written bool) {
	if s.sock != nil {
		n, err := s.writeNow(frame)
		return err == nil && n == len(frame)
	}
	done := within(2*lastFrameTimeout, func() {
		var err error
		defer s.recovered("connection", &err)
		_ = s.conn.SetWriteDeadline(time.Now().Add(lastFrameTimeout))
		n, err := s.conn.Write(frame)
		written = err == nil && n == len(frame)
	})
	return done && written
}

// closeLater ends the output and has the connection closed when the peer has ended, too, or lingerTimeout has passed.
// False says that it is to be closed at once: it has no descriptor, so nothing resets it.
func (s *Session) closeLater() bool {
	if s.descriptor() == nil || !s.endBothOutputs() {
		return false
	}
	if !s.serving.Started() {
		s.interruptReceiver()
	}
	l := &lingering{session: s, until: time.Now().Add(lingerTimeout), next: firstLook}
	l.look()
	return true
}

// endBothOutputs half-closes the connection, and below TLS the one that it runs on: that one also where close_notify
// found no room, since it is the last frame that has told the peer.
func (s *Session) endBothOutputs() (ended bool) {
	var err error
	defer s.recovered("connection", &err)
	if !s.halfClose() {
		return false
	}
	if !s.secure() {
		return true
	}
	half, ok := sockets.Transport(s.conn).(sockets.CloseWriter)
	return ok && half.CloseWrite() == nil
}

// halfClose half-closes the connection and does not wait for a peer that does not read: see closeConn.
func (s *Session) halfClose() (ended bool) {
	half, ok := s.conn.(sockets.CloseWriter)
	switch {
	case !ok:
		return false
	case s.sock != nil && s.sock.Layered():
		return s.sock.CloseNotify() == nil
	case s.sock != nil:
		return half.CloseWrite() == nil
	}
	var closed bool
	returned := within(2*closeNotifyTimeout, func() {
		var err error
		defer s.recovered("connection", &err)
		err = half.CloseWrite()
		closed = err == nil
	})
	return returned && closed || !returned && s.secure()
}

// A lingering reads on, now and then and without waiting, for a session that has ended.
type lingering struct {
	session *Session
	until   time.Time
	next    time.Duration
}

func (l *lingering) look() {
	left := time.Until(l.until)
	if left <= 0 || sockets.Discard(l.session.descriptor()) {
		_ = l.session.closeConn(false)
		return
	}
	wait := min(l.next, left)
	l.next *= 2
	time.AfterFunc(wait, l.look)
}

// Package ws's sessions behind net/http: that has accepted the connection and read the request, and package ws has
// answered it. What is left for the server is a conn, some input that was read from it, and who makes the codec.

// An upgradedConn is one that becomes such a session, by [Server.ServeConn]. It belongs to no session before:
// [MessageConn]'s method is asked once for all conns of the same handler.
type upgradedConn interface {
	MessageConn
	handshakeProtocol // which is over: it makes the codec
	refusableConn

	// Upgraded returns the conn to go on with, and what was read from it beyond the handshake.
	Upgraded(inside.Call) (conn net.Conn, input []byte)

	// Shared returns what make has made for the first conn of the same handler. The handler keeps it: a program may
	// have one for each request, of which nothing is to be left.
	Shared(make func() any, _ inside.Call) any
}

// An entrant is an upgradedConn on its way in.
type entrant struct {
	upgradedConn
	owner    *owner
	messages *messageServer
}

// serveUpgraded begins a session and returns. The goroutine of whoever calls it, and what that has on its stack, is not
// the session's. The handler is package ws's own, and a MessageHandler.
func (srv *Server) serveUpgraded(up upgradedConn, h Handler) error {
	o := up.Shared(func() any { return srv.upgradedOwner(up, h.(MessageHandler)) }, inside.Call{}).(*owner)
	m := srv.upgradedServer()
	s, err := srv.enter(&entrant{up, o, m}, nil)
	if err != nil {
		return err
	}
	// Before anybody knows the session: whatever ends it then tells the peer why.
	s.makeCodecBy(func() (Codec, error) { return s.upgradedCodec(up, m) })
	if s.IsClosed() {
		return s.closedErr()
	}
	if !srv.manager.add(s) {
		s.terminate(ErrServerClosed)
		return ErrServerClosed
	}
	s.startClock()
	go m.serve(s)
	return nil
}

// upgradedOwner makes what the sessions of h share.
func (srv *Server) upgradedOwner(up upgradedConn, h MessageHandler) *owner {
	o := newOwner(srv.sessionOwner().Config, up.WrapProtocol(srv.protocol), srv, &srv.flusher)
	o.begun, o.handler = true, h
	return o
}

// upgradedServer returns that of all such sessions, whatever their handlers: an event loop has descriptors and
// goroutines.
func (srv *Server) upgradedServer() *messageServer {
	srv.upgradedOnce.Do(func() {
		srv.upgraded = srv.newMessageServer(ownersHandler{})
		_ = srv.upgraded.startLoop() // descriptors may be short: each session has a goroutine then
	})
	return srv.upgraded
}

// An ownersHandler is in the place of that which a session's owner has.
type ownersHandler struct{}

func (ownersHandler) ServeMessage(s *Session, msg []byte) { s.owner.handler.ServeMessage(s, msg) }

// HandlerOf makes it one of sessionHandlers.
func (ownersHandler) HandlerOf(s *Session, _ inside.Call) (h, of MessageHandler) {
	return s.owner.handler, ownersHandler{}
}

// conn returns the conn to go on with: for an event loop, as one that can be taken over from package net.
func (e *entrant) conn() net.Conn {
	conn, _ := e.Upgraded(inside.Call{})
	if e.messages.loop != nil {
		return sockets.Attach(conn, e.messages.listenAddr)
	}
	return conn
}

// upgradedCodec makes the codec, and enters what was read. Where that fails the peer is told why. The caller holds
// recvMu.
func (s *Session) upgradedCodec(up upgradedConn, m *messageServer) (codec Codec, err error) {
	defer func() {
		if codec == nil { // also where NewCodec has ended the goroutine
			discard(up, err)
		}
	}()
	defer s.recoveredLocked("protocol", &err)
	_, input := up.Upgraded(inside.Call{})
	for len(input) > 0 {
		n := copy(s.in.Space(s.usualRead), input)
		s.took(n)
		input = input[n:]
	}
	if codec, _, err = up.Handshake(stream{s}, inside.Call{}); err == nil && m.loop != nil {
		sockets.LetGo(s.conn) // nobody else waits in it yet
	}
	return codec, err
}

// What package ws's conn has beyond a [MessageConn].
type (
	// sessionConn is told its session, when that is made: why the session ends, its peer is told.
	sessionConn interface{ SetSession(*Session, inside.Call) }

	// readAheadConn reads what the session has not asked for yet, so that its socket does not tell whether the
	// peer is silent.
	readAheadConn interface {
		// LastInput is when something last came: now, while something waits to be read.
		LastInput(inside.Call) time.Time

		// DropUnread discards what waits to be read, and returns how many bytes that were.
		DropUnread(inside.Call) int
	}
)

func tellConn(conn net.Conn, s *Session) {
	if c, ok := conn.(sessionConn); ok {
		c.SetSession(s, inside.Call{})
	}
}

// Conn is how ws finds its conn.
func (st stream) Conn(inside.Call) net.Conn { return st.s.conn }

// WriteTimeout bounds what ws's conn writes by itself; 0 means no bound.
func (st stream) WriteTimeout(inside.Call) time.Duration { return st.s.owner.writeTimeout() }

// RateLimit is for ws's conn, too: it bounds what it does not show the session.
func (st stream) RateLimit(inside.Call) (limit ratelimit.Limit, end bool) {
	return st.s.owner.rateLimit(), st.s.owner.RateLimit.End
}

// readAhead notes what the conn has read that the session has not. It reports whether that was later than
// what was known.
func (s *Session) readAhead() bool {
	c, ok := s.conn.(readAheadConn)
	if !ok {
		return false
	}
	last := int64(c.LastInput(inside.Call{}).Sub(s.opened)) + openedNow
	if last <= s.received.Load() {
		return false
	}
	s.received.Store(last)
	return true
}
