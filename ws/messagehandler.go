package ws

import (
	"net/http"
	"sync"

	"github.com/coder/websocket"
	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/usercode"
)

// MessageHandler is [Handler] for event mode: h is called for each message, as by [libnet.Server.ServeMessages]. The
// request is over when the session has begun: net/http's goroutine and its buffers are given back. On Linux a session
// that waits has neither a goroutine nor a buffer, where the HTTP server's connections are those of package net, or of
// a [TLSListener]. Elsewhere, and on connections of crypto/tls or of the user's own, each session has a goroutine, and
// the same holds otherwise.
//
// OnSession is called on a goroutine of the session's own, behind the upgrade. What the section "On a server's own
// listener" says of sessions holds for these, and what Handler says of requests.
//
// It panics without srv or h, and for a pattern that path.Match does not accept.
func MessageHandler(srv *libnet.Server, h libnet.MessageHandler, o *HandlerOptions) http.Handler {
	if srv == nil || usercode.IsMissing(h) {
		panic("libnet: ws.MessageHandler needs a server and a handler")
	}
	_ = srv.Manager() // which panics for a zero Server
	return &messagesHandler{server: srv, serves: &passedHandler{MessageHandler: h}, options: copyOptions(o)}
}

type messagesHandler struct {
	server  *libnet.Server
	serves  *passedHandler
	options options

	once     sync.Once       // makes the following
	protocol *serverProtocol // of all sessions, so that a broadcast encodes once for them

	sharedOnce sync.Once // makes the following
	shared     any       // what all sessions share, as the server has it
}

// A passedHandler is the user's, as the server is given it. It is a Handler only to be let through ServeConn.
type passedHandler struct {
	libnet.MessageHandler
	libnet.Handler // nil
}

func (h *messagesHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	up := &upgrade{ResponseWriter: w, request: r, options: &h.options}
	ws, err := websocket.Accept(up, r, &h.options.accept)
	if err != nil {
		return // and the request has been answered
	}
	_ = ws.CloseNow() // its part was the handshake
	handed := false
	defer func() {
		if !handed { // the connection, or what middleware has made of the request, has panicked: the peer has its answer, and waits
			_ = guard(up.link.conn.Close)
		}
	}()
	conn := &upgraded{
		Conn:      up.link.conn,
		input:     up.early(),
		handler:   h,
		request:   requestText(r),
		beyond:    beyondText(r, up.link.conn),
		agreement: h.options.agreement(ws.Subprotocol(), up.deflates),
	}
	handed = true // it closes what it does not serve
	_ = h.server.ServeConn(conn, h.serves)
}

// wrap is always given the same p: that of the handler's server.
func (h *messagesHandler) wrap(p libnet.Protocol) *serverProtocol {
	h.once.Do(func() {
		if served, ok := p.(*serverProtocol); ok { // whose handshake is for the server's own listener
			p = served.inner
		}
		h.protocol = &serverProtocol{inner: p, options: h.options}
	})
	return h.protocol
}
