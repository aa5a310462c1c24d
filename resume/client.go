package resume

import (
	"context"
	"sync/atomic"

	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/reconnect"
)

// A Client makes sessions with a [Server]. Set its fields before Start; one may start any number of sessions.
type Client struct {
	Config

	// Handler, if set, is given the messages, one at a time and in order, on the goroutine of the reconnect.Client. A
	// message is valid until it returns. Without it they wait for [Session.Receive].
	Handler func(s *Session, msg []byte)
}

// Start starts over, which makes the connections, and returns the session that goes on over them; their protocol's
// marshaler must be [Frames]. It begins with the first connection: what is sent before is kept. The session ends over,
// and ends with it.
//
// Start sets over's Handler, and has its OnConnect and OnState do more than before: set them, and its back-off, before.
// An OnConnect of yours is called first, on each connection, and may send nothing that its protocol does not take. over
// must not have a Handler, and is not to be used otherwise; it panics for one that has.
func (c *Client) Start(over *reconnect.Client) *Session {
	if over.Handler != nil {
		panic("libnet: resume: the reconnect.Client has a Handler")
	}
	e := &clientEnd{over: over, onConnect: over.OnConnect, onState: over.OnState}
	e.session = newSession(newCommon(&c.Config, e, c.Handler))
	over.OnConnect, over.OnState, over.Handler = e.connect, e.tell, e
	over.Start()
	if err := over.Err(); err != nil { // it had ended before, and tells of that no more
		e.session.finish(err)
	}
	return e.session
}

// A clientEnd is a session's client.
type clientEnd struct {
	// Immutable.
	over      *reconnect.Client
	session   *Session
	onConnect func(context.Context, *libnet.Session) error
	onState   func(reconnect.Change)

	// Owned by connect, of which one runs at a time.
	token  token
	resume bool // there is a token
	links  uint64
	tries  uint64 // to resume

	link atomic.Pointer[link] // the newest
}

// connect exchanges hello and welcome.
func (e *clientEnd) connect(ctx context.Context, conn *libnet.Session) error {
	if e.onConnect != nil {
		if err := e.onConnect(ctx, conn); err != nil {
			return err
		}
	}
	if err := keepsAll(conn); err != nil {
		e.session.finish(err)
		return reconnect.Permanent(err)
	}
	frame, err := e.exchange(ctx, conn)
	if err != nil {
		return err
	}
	if why, ok := parseRefusal(frame); ok {
		return e.refused(why)
	}
	w, ok := parseWelcome(frame)
	if !ok {
		return ErrProtocol
	}
	e.token, e.resume = w.token, true
	e.links++
	l, own, err := e.session.attach(conn, e.links, w.counts)
	if err != nil { // the server is told, too
		_ = conn.SendContext(ctx, ending{own.taken})
		_ = conn.Shutdown(ctx)
		e.session.finish(err)
		return reconnect.Permanent(err)
	}
	// The first acknowledgement says that the new token has come, whatever its count.
	_ = conn.SendContext(ctx, &newAck(own.taken).Payload)
	e.link.Store(l)
	e.session.opened(l)
	return nil
}

func (e *clientEnd) exchange(ctx context.Context, conn *libnet.Session) (frame []byte, err error) {
	own := e.session.fence()
	if err := e.session.Err(); err != nil {
		return nil, reconnect.Permanent(err)
	}
	e.tries++
	if err := conn.SendContext(ctx, hello{e.resume, e.token, e.tries, own}); err != nil {
		return nil, err
	}
	return conn.Receive()
}

// refused ends the session where the server does not have it. What a Shutdown has had acknowledged is not lost by that.
func (e *clientEnd) refused(why refusal) error {
	switch why {
	case refusedUnknown:
		e.session.finish(e.session.reasonNotKept())
		return reconnect.Permanent(ErrNotKept)
	case refusedBusy:
		return ErrRefused
	}
	e.session.finish(ErrProtocol)
	return reconnect.Permanent(ErrProtocol)
}

func (s *Session) reasonNotKept() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == draining && s.allAcknowledgedLocked() {
		return libnet.ErrSessionClosed
	}
	return ErrNotKept
}

// ServeMessage makes it the Handler of its reconnect.Client.
func (e *clientEnd) ServeMessage(conn *libnet.Session, frame []byte) {
	if l := e.link.Load(); l.conn == conn { // else the session has left it
		l.ServeMessage(conn, frame)
	}
}

// tell passes a change on, and ends the session with its reconnect.Client, whatever the user does then.
func (e *clientEnd) tell(change reconnect.Change) {
	if change.State == reconnect.Closed {
		e.session.finish(change.Err)
	}
	if e.onState != nil {
		e.onState(change)
	}
}

func (e *clientEnd) ownWindow() bool            { return true }
func (e *clientEnd) confirmed(*Session, uint64) {}
func (e *clientEnd) grown(*Session, int)        {}

func (e *clientEnd) detached(*Session, *libnet.Session) {}

func (e *clientEnd) closed(_ *Session, conn *libnet.Session, last ending) {
	go func() {
		ctx, cancel := lingering()
		defer cancel()
		if conn != nil {
			_ = conn.SendContext(ctx, last)
		}
		_ = e.over.Shutdown(ctx)
	}()
}
