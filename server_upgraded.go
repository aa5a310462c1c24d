package libnet

import (
	"net"
	"sync"

	"github.com/libnet-go/libnet/internal/sockets"
)

// Package ws's sessions behind net/http: that has accepted the connection and read the request, and package ws has answered it. What is
// left for the server is a conn, some input that was read from it, and who makes the codec.

// An upgradedConn is one that becomes such a session, by [Server.ServeConn]. It belongs to no session before: [MessageConn]'s method is
// asked once for all conns that come with the same handler.
type upgradedConn interface {
	MessageConn
	handshakeProtocol // which is over: it makes the codec
	refusableConn

	// Upgraded returns the conn to go on with, and what was read from it beyond the handshake.
	Upgraded() (conn net.Conn, input []byte)
}

// An entrance is what the sessions of one handler of package ws share.
type entrance struct {
	once sync.Once // makes the rest

	owner    *owner
	messages *messageServer // nil where a Handler runs each session
}

// An entrant is an upgradedConn on its way in.
type entrant struct {
	upgradedConn
	through *entrance
}

// serveUpgraded begins a session and returns. The goroutine of whoever calls it, and what that has on its stack, is not the session's.
// The handler is package ws's own, so it can be compared. One that is a MessageHandler, too, is called a message.
func (srv *Server) serveUpgraded(up upgradedConn, h Handler) error {
	through := srv.entrance(up, h)
	s, err := srv.enter(&entrant{up, through}, func(conn net.Conn) net.Conn { return conn })
	if err != nil {
		return err
	}
	// Before anybody knows the session: whatever ends it then tells the peer why.
	s.makeCodecBy(func() (Codec, error) { return s.upgradedCodec(up, through.messages) })
	if s.IsClosed() {
		return s.closedErr()
	}
	if !srv.manager.add(s) {
		s.terminate(ErrServerClosed)
		return ErrServerClosed
	}
	s.startClock()
	if through.messages != nil {
		go through.messages.serve(s)
	} else {
		go srv.run(s, h)
	}
	return nil
}

// entrance returns that of h, which the first connection makes.
func (srv *Server) entrance(up upgradedConn, h Handler) *entrance {
	known, _ := srv.entrances.LoadOrStore(h, new(entrance))
	e := known.(*entrance)
	e.once.Do(func() {
		o := srv.sessionOwner()
		e.owner = newOwner(o.Config, up.WrapProtocol(srv.protocol), srv, &srv.flusher)
		e.owner.begun = true
		if messages, ok := h.(MessageHandler); ok {
			e.messages = srv.newMessageServer(messages)
			_ = e.messages.startLoop() // descriptors may be short: each session has a goroutine then
		}
	})
	return e
}

// conn returns the conn to go on with: for an event loop, as one that can be taken over from package net.
func (e *entrant) conn() net.Conn {
	conn, _ := e.Upgraded()
	if m := e.through.messages; m != nil && m.loop != nil {
		return sockets.Attach(conn, m.listenAddr)
	}
	return conn
}

// upgradedCodec makes the codec, and enters what was read. Where that fails the peer is told why. The caller holds recvMu.
func (s *Session) upgradedCodec(up upgradedConn, m *messageServer) (codec Codec, err error) {
	defer func() {
		if codec == nil { // also where NewCodec has ended the goroutine
			discard(up, err)
		}
	}()
	defer s.recoveredLocked("protocol", &err)
	_, input := up.Upgraded()
	for len(input) > 0 {
		n := copy(s.in.Space(s.usualRead), input)
		s.took(n)
		input = input[n:]
	}
	if codec, _, err = up.Handshake(stream{s}); err == nil && m != nil && m.loop != nil {
		sockets.LetGo(s.conn) // nobody else waits in it yet
	}
	return codec, err
}
