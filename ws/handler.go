package ws

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"path"

	"github.com/coder/websocket"
	"github.com/libnet-go/libnet"
)

// HandlerOptions is what a [Handler] can be told. The zero value is the default. It is copied.
type HandlerOptions struct {
	// Text sends messages as text, which browsers hand out as strings: for JSON. A message that is not
	// UTF-8 is then an error of Send that wraps libnet.ErrEncode. The default is binary.
	Text bool

	// OriginPatterns are the origins besides the request's own host from which browsers may connect:
	// patterns of path.Match for the host, or for "scheme://host". "*" allows all, and with it any web page
	// to act as its visitor. A request without an Origin header does not come from a browser and is
	// let in.
	OriginPatterns []string

	// Subprotocols are the WebSocket subprotocols that may be agreed on, the preferred ones first.
	Subprotocols []string
}

// Handler returns an http.Handler that makes WebSocket requests sessions of srv and has h run each, as
// [libnet.Server.Serve] does: in the request's goroutine, until h returns; then what is queued is delivered
// and the session closed. It answers other requests, and those from foreign origins, with an error.
//
// The HTTP server's own timeouts apply until the upgrade and the session's from then on; srv's
// Shutdown ends the sessions, the HTTP server's does not. A request that comes when srv is stopped or has too
// many sessions is upgraded and closed. srv.TLSConfig has no effect here: TLS is the HTTP server's.
//
// It panics without srv or h, and for a pattern that path.Match does not accept.
func Handler(srv *libnet.Server, h libnet.Handler, o *HandlerOptions) http.Handler {
	if srv == nil || h == nil {
		panic("libnet: ws.Handler needs a server and a handler")
	}
	if o == nil {
		o = new(HandlerOptions)
	}
	for _, pattern := range o.OriginPatterns {
		if _, err := path.Match(pattern, ""); err != nil {
			panic(fmt.Sprintf("libnet: ws: origin pattern %q: %v", pattern, err))
		}
	}
	return &handler{server: srv, handler: h, options: *o, protocols: protocols{text: o.Text}}
}

type handler struct {
	server    *libnet.Server
	handler   libnet.Handler
	options   HandlerOptions
	protocols protocols
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	up := &upgrade{ResponseWriter: w}
	ws, err := websocket.Accept(up, r, &websocket.AcceptOptions{
		OriginPatterns:  h.options.OriginPatterns,
		Subprotocols:    h.options.Subprotocols,
		CompressionMode: websocket.CompressionDisabled,
		OnPingReceived:  func(context.Context, []byte) bool { return up.link.answersPing() },
	})
	if err != nil {
		return // and Accept has answered
	}
	up.link.adopt()
	c := newConn(ws, up.link, false, &h.protocols)
	defer c.Close() // frees what a session that was refused has left
	_ = h.server.ServeConn(c, libnet.HandlerFunc(func(s *libnet.Session) {
		c.session.Store(s)
		h.handler.ServeSession(s)
	}))
}

// An upgrade puts a link between the connection and the library.
type upgrade struct {
	http.ResponseWriter
	link *link
}

func (u *upgrade) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(u.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	u.link = newLink(conn, conn)
	return u.link, bufio.NewReadWriter(rw.Reader, bufio.NewWriterSize(u.link, writerSize)), nil
}

// writerSize is that of the buffer which the library wants before the link's.
const writerSize = 256
