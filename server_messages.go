package libnet

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/libnet-go/libnet/internal/eventloop"
	"github.com/libnet-go/libnet/internal/inside"
	"github.com/libnet-go/libnet/internal/lock"
	"github.com/libnet-go/libnet/internal/sockets"
	"github.com/libnet-go/libnet/internal/usercode"
)

// A MessageHandler serves messages for [Server.ServeMessages]. ServeMessage is called for each message of a session in
// order, one at a time per session; msg is valid until it returns, and may be changed and appended to: a handler that
// keeps it keeps a copy, and Config.PoisonMessages finds one that does not. Replies sent from within it leave together,
// in one write for all messages that arrived together. It must not call the session's Receive. When it panics, the
// session is closed with a reason that wraps [ErrPanic].
type MessageHandler interface {
	ServeMessage(s *Session, msg []byte)
}

// MessageHandlerFunc lets a plain function be a [MessageHandler].
type MessageHandlerFunc func(s *Session, msg []byte)

// ServeMessage calls f.
func (f MessageHandlerFunc) ServeMessage(s *Session, msg []byte) { f(s, msg) }

// ServeMessages accepts sessions and calls h for each message: event mode. On Linux, over TCP and Unix sockets, with
// and without TLS, and with a codec that is a [FrameParser], a session that waits has no goroutine and no buffer but
// those of crypto/tls; elsewhere each session has a goroutine, and the same holds otherwise. A handler that waits
// delays only its own session. The handshake of TLS comes before OnSession, on a goroutine that ends with it.
// ServeMessages returns as [Server.Serve] does.
func (srv *Server) ServeMessages(h MessageHandler) error {
	if usercode.IsMissing(h) {
		panic("libnet: ServeMessages with a nil handler")
	}
	srv.mustBeReady()
	m := srv.newMessageServer(h)
	starts := starters{serve: m.serve}
	if err := m.startLoop(); err != nil {
		return err
	}
	return srv.acceptEach(m.prepare, starts.add, m.adopt)
}

// A messageServer is one call of ServeMessages. It is the host of an event loop, where the system has one.
type messageServer struct {
	server     *Server
	handler    MessageHandler
	listenAddr func() net.Addr // the listener's, kept: a method value is an allocation
	slots      sockets.Slots   // of TLS handshakes
	loop       *eventloop.Loop // nil: each session has a goroutine
}

func (srv *Server) newMessageServer(h MessageHandler) *messageServer {
	return &messageServer{
		server:     srv,
		handler:    h,
		listenAddr: srv.listener.Addr,
		slots:      sockets.HandshakeSlots(),
	}
}

// startLoop makes the event loop, where the system has one.
func (m *messageServer) startLoop() error {
	loop, err := eventloop.New(eventHost{m})
	switch {
	case err == errors.ErrUnsupported:
		return nil
	case err != nil:
		return fmt.Errorf("libnet: event loop: %w", err)
	case !m.server.addLoop(loop, m.handler):
		loop.Close()
		return ErrServerClosed
	}
	m.loop = loop
	return nil
}

// starters do for sessions what may wait, each for one at a time. Nobody waits behind another, and yet, where nothing
// waits, a burst of connections takes a few goroutines and not one each: the runtime keeps for good what it has made
// for the most that there ever were.
type starters struct {
	serve func(*Session)

	mu lock.Mutex[startersLock]
	// mu guards the following.
	pending []*Session // first come first; there is none without a goroutine that comes for it
	comes   bool
}

type startersLock struct{}

func (st *starters) add(s *Session) {
	st.mu.Lock()
	st.pending = append(st.pending, s)
	start := !st.comes
	st.comes = true
	st.mu.Unlock()
	if start {
		go st.run()
	}
}

// run is a goroutine that comes for pending. Its first session may keep it.
func (st *starters) run() {
	for s := st.next(true); s != nil; s = st.next(false) {
		st.serve(s)
	}
}

// next returns nil where none is pending.
func (st *starters) next(came bool) (s *Session) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if len(st.pending) > 0 {
		s, st.pending[0] = st.pending[0], nil
		st.pending = st.pending[1:]
	}
	if came {
		st.comes = len(st.pending) > 0
		if st.comes {
			go st.run()
		}
	}
	return s
}

// prepare takes a TCP connection over from package net for the event loop. One that it cannot take over (descriptors
// may be short) is served as it is, at a higher cost.
func (m *messageServer) prepare(conn net.Conn, proxied bool) net.Conn {
	switch config := m.server.tlsConfig(); {
	case m.loop == nil:
		return m.server.secureWaiting(conn, m.slots)
	case config != nil:
		return sockets.Secure(conn, config, m.listenAddr, m.slots)
	}
	if _, waits := m.server.protocol.(handshakeProtocol); waits || proxied {
		return sockets.Attach(conn, m.listenAddr)
	}
	return sockets.Detach(conn, m.listenAddr)
}

// serve does what may take its time, and then gives the session to the event loop or to a goroutine of its own: this
// one.
func (m *messageServer) serve(s *Session) {
	returned := false
	defer func() {
		if !returned { // OnSession has ended the goroutine
			s.terminate(ErrSessionClosed)
		}
	}()
	_ = s.awaitProxyHeader() // the handshake is to be over in any case: there are those who wait for that
	prepared := s.tlsHandshake() && m.server.prepare(s)
	returned = true
	if prepared {
		m.serveAdmitted(s)
	}
}

// serveAdmitted gives a session that is ready to the event loop, or serves it.
func (m *messageServer) serveAdmitted(s *Session) {
	if !m.canLoop(s) {
		m.server.runMessages(s, m.handler)
		return
	}
	m.addToLoop(s)
}

// canLoop reports whether an event loop can serve the session, which has its codec.
func (m *messageServer) canLoop(s *Session) bool {
	return m.loop != nil && s.sock != nil && s.framing().parses
}

// tlsHandshake does the handshake of TLS, if that is to be done before anything else; false if it failed, and the
// session with it.
func (s *Session) tlsHandshake() bool {
	if s.sock == nil {
		return true
	}
	if err := s.callHandshake(); err != nil {
		_ = s.fail(err)
		return false
	}
	if s.sock.Layered() && s.owner.setsNoClock() {
		s.admitted(awaitTLS)
		s.askClock()
	}
	return true
}

// callHandshake calls callbacks of the TLSConfig, which are the user's.
func (s *Session) callHandshake() (err error) {
	defer s.recovered("TLS handshake", &err)
	return s.sock.Handshake()
}

// adopt is serveAdmitted for a session of another process, of which there may be many thousands: one of which nothing
// has arrived takes no goroutine.
func (m *messageServer) adopt(s *Session) {
	if !m.canLoop(s) || !s.in.Empty() || s.throttle() != nil {
		go m.serveAdmitted(s)
		return
	}
	m.startServing(s)
	s.beforeWait(false)
	if s.yieldAsked.Load() {
		s.yieldNow()
	}
	m.loop.ReleaseAside((*eventSession)(s))
	m.register(s)
}

// startServing makes the caller the one who serves s, which the loop does later.
func (m *messageServer) startServing(s *Session) {
	if t := s.throttle(); t != nil {
		t.loop = m.loop
	}
	// A read of a Unix socket also stops where descriptors or credentials were passed, and no event tells of what lies
	// behind them.
	readAll := !sockets.IsDetached(sockets.Transport(s.conn))
	s.recvMu.Lock() // under which an end gives back what it finds nobody to receive
	s.serving.Start(readAll)
	s.recvMu.Unlock()
}

func (m *messageServer) register(s *Session) {
	if err := m.loop.Register(s.id, s.sock.Raw()); err != nil {
		go s.terminate(fmt.Errorf("libnet: event loop: %w", err))
	}
}

// addToLoop has the event loop serve s, a session with a descriptor.
func (m *messageServer) addToLoop(s *Session) {
	m.startServing(s)
	// OnSession may have received, so that more came than it asked for, or sent, or a shutdown may wait for it.
	err := s.dispatch(m.handler)
	if err == nil {
		err = s.serveHeld(m.handler)
	}
	if err != nil {
		s.failServing(err)
	}
	if s.yieldAsked.Load() { // while OnSession was at work
		s.yieldNow()
	}
	m.loop.Release((*eventSession)(s))
	// From here on the loop serves s. It is told of what has arrived by then, and had it been before, this goroutine
	// would go on with a peer that sends without pause.
	if err == nil {
		m.register(s)
	}
}

// serveHeld serves what came with the handshake of TLS, of which no event tells.
func (s *Session) serveHeld(h MessageHandler) error {
	for s.canReceive() && !s.isPaused() {
		n, err := s.readHeld()
		if n > 0 {
			s.took(n)
			err = s.dispatch(h)
		}
		if n == 0 || err != nil {
			return err
		}
	}
	return nil
}

func (s *Session) readHeld() (n int, err error) {
	err = errGoroutineEnded
	defer s.layerReturned(&err)
	return s.sock.ReadHeld(&s.in, s.usualRead)
}

// readNow reads once what has arrived. TLS may have to answer.
func (s *Session) readNow() (n int, err error) {
	if !s.sock.Layered() {
		return s.sock.ReadReady(&s.in, s.usualRead)
	}
	err = errGoroutineEnded
	defer s.layerReturned(&err)
	return s.sock.ReadReady(&s.in, s.usualRead)
}

// An eventHost is what the event loop sees of a messageServer.
type eventHost struct{ *messageServer }

// Lookup finds an open session.
func (h eventHost) Lookup(id uint64) eventloop.Source {
	if s := h.server.manager.GetSession(id); s != nil {
		return (*eventSession)(s)
	}
	return nil
}

// Serve reads once and calls the handler.
func (h eventHost) Serve(src eventloop.Source) (more bool) {
	return (*Session)(src.(*eventSession)).serve(h.handler)
}

// runMessages is a session's goroutine where there is no event loop.
func (srv *Server) runMessages(s *Session, h MessageHandler) {
	defer s.handlerEnded()
	for msg := range s.Messages() {
		h.ServeMessage(s, msg)
	}
	s.returned = true
}

// An eventSession is a session as the event loop knows it. The methods of its own are not the session's.
type eventSession Session

func (s *eventSession) ServeState() *eventloop.State { return &s.serving }

// serve reads once from s and calls h for each message that is complete. It reports whether there may be
// more to read. The caller has begun serving s.
func (s *Session) serve(h MessageHandler) (more bool) {
	if s.isPaused() && !s.resumeServing(h) {
		return false
	}
	if !s.canReceive() {
		s.dropUnread() // whoever is closing it reads the rest
		return false
	}
	n, err := s.readNow()
	if n > 0 {
		s.took(n)
		// A read of a TCP socket that brings less than it asked for has emptied it, and the next event comes with
		// the next byte: that spares a read that would find nothing.
		more = s.in.Full() || s.serving.ReadAll() || s.sock.HoldsInput()
		err = s.dispatch(h)
	}
	switch {
	case !s.yieldAsked.Load():
	case s.wasFrozen():
		err, more = cmp.Or(err, s.dispatch(h)), true
	case !s.yieldNow():
		more = more || n > 0
	}
	if s.state.Load() == sessionOutputFailed { // only what has arrived is read
		if more = n > 0; !more && err == nil {
			err = s.closedErr()
		}
	}
	if err != nil {
		s.failServing(err)
		return false
	}
	return more
}

// dispatch calls h for each complete message and then flushes the replies.
func (s *Session) dispatch(h MessageHandler) (err error) {
	returned := false
	defer func() {
		s.endBurst()
		if returned {
			return
		}
		if r := recover(); r != nil {
			err = s.panicked("message handler or codec", r)
			return
		}
		s.terminate(ErrSessionClosed) // the handler ended its goroutine
	}()
	err = s.handle(h)
	returned = true
	return err
}

// sessionHandlers is what package resume's handler has, which keeps something for each session: it is asked once for
// all messages that one read has brought, and not at each of them. What it answers is for of alone, and not for a
// handler of the user's that embeds that.
type sessionHandlers interface {
	HandlerOf(s *Session, _ inside.Call) (h, of MessageHandler)
}

// handle is dispatch where nothing panics.
func (s *Session) handle(h MessageHandler) error {
	if all, ok := h.(sessionHandlers); ok {
		if own, of := all.HandlerOf(s, inside.Call{}); of == h {
			h = own
		}
	}
	for s.canReceive() && !(s.yieldAsked.Load() && s.stopsHere()) {
		payload, ok, err := s.parse()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		h.ServeMessage(s, payload)
		s.handled()
		s.poison(payload)
	}
	if s.isPaused() {
		s.pauseServing()
	} else {
		s.beforeWait(s.inFrame())
	}
	// After beforeWait, which says that the receiver is not at work: else a request to close might be overlooked.
	if s.yieldAsked.Load() {
		s.yieldNow()
	}
	if !s.canReceive() {
		s.dropUnread()
		return nil
	}
	s.in.Shrink()
	return nil
}

// pauseServing leaves the session unserved until the next message may come.
func (s *Session) pauseServing() {
	t := s.rare.throttle
	s.beforePause()
	if !s.beginPause(t) {
		t.ResumeIn(0)
	}
}

// resumeServing serves what was left when the session paused; false if the pause goes on, or there is another.
func (s *Session) resumeServing(h MessageHandler) bool {
	t := s.rare.throttle
	if t.Next() > s.now() && !s.pauseIsOver() { // an event
		return false
	}
	s.pauseEnded(t)
	if err := s.dispatch(h); err != nil {
		s.failServing(err)
	}
	return !t.paused
}

func (s *Session) failServing(err error) {
	if err == io.EOF && !s.mayEnd() {
		err = io.ErrUnexpectedEOF
	}
	err = s.explainEnd(err)
	s.dropUnread()
	s.q.NoteReceived(s.parsed, s.read.Load())
	_ = s.fail(err)
}
