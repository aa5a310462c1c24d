package ws

import (
	"net/http"

	"github.com/coder/websocket"
	"github.com/libnet-go/libnet"
	"github.com/libnet-go/libnet/internal/inside"
	"github.com/libnet-go/libnet/internal/usercode"
)

// HandlerOptions is what a [Handler], a [MessageHandler] or a [Protocol] can be told. The zero value is the default. It
// is copied.
type HandlerOptions struct {
	// Text sends messages as text, which browsers hand out as strings: for JSON. A message that is not
	// UTF-8 is then an error of Send that wraps libnet.ErrEncode. The default is binary.
	Text bool

	// OriginPatterns are the origins besides the request's own host from which browsers may connect:
	// patterns of path.Match for the host, or for "scheme://host". "*" allows all, and with it any web page
	// to act as its visitor. A request without an Origin header does not come from a browser and is
	// let in.
	OriginPatterns []string

	// Subprotocols are the WebSocket subprotocols that may be agreed on, the preferred ones first. Which it
	// is, Subprotocol tells.
	Subprotocols []string

	// CompressFrom is how many bytes of a message, before it is compressed, are worth it: messages of so many and more
	// are sent compressed (permessage-deflate, RFC 7692) to clients that offer it, and clients may compress what they
	// send. 0, the default, agrees to no compression. It costs CPU time, most of it for each message that is sent and
	// once for a broadcast, and no memory between messages. The section "Compression" says more.
	CompressFrom int

	// Check is asked about each request that is right otherwise, before it is agreed to. An error refuses it: with the
	// status, header and body of a [*HandshakeError] that it is or wraps, which are 300 to 599, and with 403 without.
	// Check may wait, and may be called by several goroutines at a time. Its panic is logged, by net/http where that has
	// the request, and ends the connection. A browser's script does not get to see a status: what OnSession refuses, it
	// does.
	Check func(*http.Request) error
}

// Handler returns an http.Handler that makes WebSocket requests sessions of srv and has h run each, as
// [libnet.Server.Serve] does: in the request's goroutine, until h returns; then what is queued is delivered
// and the session closed. It answers other requests, and those from foreign origins, with an error, and with 501
// those whose connection cannot be taken over. Behind middleware it finds the connection as
// http.ResponseController does, and the header fields that middleware has set go out with the answer.
//
// To refuse a request with a status of its own, wrap the handler: what comes before it may answer instead. What
// OnSession refuses is told by close code and text, which is also all that a browser's script gets to see.
// [Request] tells both what was asked for.
//
// One Handler is for all requests. One for each works, too, but a broadcast is encoded once for each Handler.
//
// The HTTP server's own timeouts apply until the upgrade and the session's from then on; srv's Shutdown ends the
// sessions, the HTTP server's does not. A request that comes when srv is stopped or has too many sessions is upgraded
// and closed with 1001 or 1013. srv.TLSConfig has no effect here: TLS is the HTTP server's, or that of a [TLSListener].
//
// It panics without srv or h, and for a pattern that path.Match does not accept.
func Handler(srv *libnet.Server, h libnet.Handler, o *HandlerOptions) http.Handler {
	if srv == nil || usercode.IsMissing(h) {
		panic("libnet: ws.Handler needs a server and a handler")
	}
	_ = srv.Manager() // which panics for a zero Server
	set := copyOptions(o)
	return &handler{server: srv, handler: h, options: set, protocols: protocols{text: set.text, compressFrom: set.compressFrom}}
}

type handler struct {
	server    *libnet.Server
	handler   libnet.Handler
	options   options
	protocols protocols
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	up := &upgrade{ResponseWriter: w, request: r, options: &h.options}
	ws, err := websocket.Accept(up, r, &h.options.accept)
	if err != nil {
		return // and the request has been answered
	}
	_ = ws.CloseNow() // its part was the handshake
	c := newConn(up.link, up.reader, &h.protocols, h.options.agreement(ws.Subprotocol(), up.deflates))
	c.request = r
	err = libnet.ErrPanic // stays if the connection's own methods end the goroutine
	defer func() {
		if c.session.Load() == nil {
			c.Refuse(err, inside.Call{})
		}
	}()
	err = h.server.ServeConn(c, libnet.HandlerFunc(func(s *libnet.Session) {
		c.begin()
		h.handler.ServeSession(s)
	}))
}
