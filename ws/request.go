package ws

import (
	"net/http"

	"github.com/libnet-go/libnet"
)

// Request returns the request with which the peer of a session of [Handler], [MessageHandler] or [Protocol] asked for
// its WebSocket: its path, query, header and cookies, and what middleware has left in its context, which ends when the
// session's handler has returned. It is not to be changed, and has no body. Request may be called by any goroutine, in
// OnSession too. It returns nil for any other session.
//
// For a session of MessageHandler or Protocol the context ends with the session, and the request is made anew by each
// call: keep what you need more than once, not the request. Of what net/http and middleware have made of it, it has the
// header, URL, RemoteAddr, pattern and path values, and what its context holds. That outlives net/http's request: what
// a router takes back when its handler has returned, to use it again, would be another request's here. So does chi
// with what its URLParam reads: behind a MessageHandler PathValue has the parameters. For a session of Protocol Request
// returns nil, too, if the handshake has failed; one that Accept has returned is to do it first.
//
// A session keeps its request for as long as it lives, which may be as long as 16 KiB, or behind net/http as the
// http.Server's MaxHeaderBytes allows.
func Request(s *libnet.Session) *http.Request {
	switch c := codecOf(s).(type) {
	case *messageCodec:
		return c.conn.request
	case *serverCodec:
		return c.requestOf(s)
	}
	return nil
}

// Subprotocol returns the WebSocket subprotocol that the two sides of a session of [Handler], [MessageHandler],
// [Protocol] or [Dial] have agreed on, as this side's options spell it, "" if there is none, as for any other session.
// It may be called by any goroutine, in OnSession too.
func Subprotocol(s *libnet.Session) string {
	switch c := codecOf(s).(type) {
	case *messageCodec:
		return c.conn.agreement.subprotocol
	case *serverCodec:
		return c.subprotocol
	}
	return ""
}

func codecOf(s *libnet.Session) libnet.Codec {
	if s == nil {
		return nil
	}
	return s.Codec()
}
