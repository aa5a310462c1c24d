package ws

import (
	"net/http"

	"github.com/libnet-go/libnet"
)

// Request returns the request with which the peer of a session of [Handler] asked for its WebSocket: its path, query,
// header and cookies, and what middleware has left in its context, which ends when the session's handler has returned.
// It is not to be changed, and has no body. Request may be called by any goroutine, in OnSession too. It returns nil
// for any other session.
func Request(s *libnet.Session) *http.Request {
	if c := connUnder(s); c != nil {
		return c.request
	}
	return nil
}

// Subprotocol returns the WebSocket subprotocol that the two sides of a session of [Handler] or [Dial] have agreed on,
// "" if there is none, as for any other session. It may be called by any goroutine, in OnSession too.
func Subprotocol(s *libnet.Session) string {
	if c := connUnder(s); c != nil {
		return c.subprotocol
	}
	return ""
}

// connUnder finds a session's conn by way of its codec; nil if it has none.
func connUnder(s *libnet.Session) *conn {
	if s == nil {
		return nil
	}
	if codec, ok := s.Codec().(*messageCodec); ok {
		return codec.conn
	}
	return nil
}
