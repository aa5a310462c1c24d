package libnet

// A MessageHandler serves messages for [Server.ServeMessages]. ServeMessage is called for each message of
// a session in order, one at a time per session; msg is valid until it returns, and may be changed and
// appended to. Replies sent from within it leave together, in one write for all messages that arrived
// together. It must not call the session's Receive. When it panics, the session is closed with a reason that
// wraps [ErrPanic].
type MessageHandler interface {
	ServeMessage(s *Session, msg []byte)
}

// MessageHandlerFunc lets a plain function be a [MessageHandler].
type MessageHandlerFunc func(s *Session, msg []byte)

// ServeMessage calls f.
func (f MessageHandlerFunc) ServeMessage(s *Session, msg []byte) { f(s, msg) }

// ServeMessages accepts sessions and calls h for each message: event mode. On Linux, over TCP and Unix
// sockets and with a codec that is a [FrameParser], a session that waits has no goroutine and no buffer;
// elsewhere each session has a goroutine, and the same holds otherwise. A handler that waits delays only
// its own session. ServeMessages returns as [Server.Serve] does.
func (srv *Server) ServeMessages(h MessageHandler) error {
	if h == nil {
		panic("libnet: ServeMessages with a nil handler")
	}
	loop, err := newEventLoop(srv, h)
	if err != nil {
		return err
	}
	return srv.acceptEach(loop.prepare, func(s *Session) { go srv.startMessages(s, loop, h) })
}

// startMessages does what may take its time, and then leaves the session to the event loop or to a
// goroutine of its own: this one.
func (srv *Server) startMessages(s *Session, loop *eventLoop, h MessageHandler) {
	returned := false
	defer func() {
		if !returned { // OnSession has ended the goroutine
			s.terminate(ErrSessionClosed)
		}
	}()
	prepared := srv.prepare(s)
	returned = true
	if prepared && !loop.add(s) {
		srv.runMessages(s, h)
	}
}

// keptMessage is the most that a session without an event loop keeps for its next message.
const keptMessage = 128 << 10

// runMessages is a session's goroutine where there is no event loop.
func (srv *Server) runMessages(s *Session, h MessageHandler) {
	defer s.handlerEnded()
	var buf []byte
	for {
		msg, err := s.ReceiveInto(buf)
		if err != nil {
			s.returned = true
			return
		}
		h.ServeMessage(s, msg[:len(msg):len(msg)])
		if buf = msg; cap(buf) > keptMessage {
			buf = nil
		}
	}
}
