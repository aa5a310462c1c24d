// Package mux gives messages names: it routes them to typed handlers, and matches replies to calls, in both directions.
//
//	type Login struct{ User, Token string }
//	type Welcome struct{ Rooms []string }
//
//	m := mux.New(mux.JSON)
//	mux.Handle(m, "login", func(ctx context.Context, s *libnet.Session, req *Login) (*Welcome, error) {
//		if !known(req) {
//			return nil, &mux.Error{Code: 401, Text: "who are you?"}
//		}
//		return &Welcome{Rooms: rooms()}, nil
//	})
//	server, err := libnet.Serve("tcp", ":7000", codec.New(codec.Uint32BE, m), 64)
//	server.ServeMessages(m)                            // or Serve(m)
//	http.Handle("/ws", ws.MessageHandler(server, m, nil)) // the same handlers, over WebSocket
//
// The other end has a Mux, too, with handlers of its own if it is called:
//
//	peer := m.Start(session)
//	welcome, err := mux.Call[Login, Welcome](ctx, peer, "login", &Login{"ann", "secret"})
//	var refused *mux.Error
//	if errors.As(err, &refused) && refused.Code == 401 { … }
//
// There a refused login may be tried again. One that ends the session belongs in the server's OnSession, as in the
// example of [Mux.ServeMessage].
//
// # On the wire
//
// An [Envelope] says how kind and id lie in a message. Three come with the package: [Binary], compact; [JSON], which a
// browser reads and writes without a library; [Proto], for protobuf messages that have their kind in field 1 and no
// ids.
//
// # Who runs what
//
// The messages of a session are handled one at a time, in order, on the goroutine that receives them (in event mode,
// the poller's). So a handler may wait, and then holds up its own session and no other; but what it waits for must not
// be that session's: the reply to a [Call] of its own peer would lie behind it, unread. Such a Call returns
// [ErrCallInOrder] at once. A handler that calls back is registered with [Concurrent]: it has a goroutine a message,
// and replies are received while it waits. The peer's end, too, lies behind what is handled in order.
//
// # What a peer can do
//
//   - A message of a kind without a handler, or with a body that cannot be decoded, is answered with an [Error] that
//     names the kind; the session stays. One whose envelope cannot be read ends the session, with [ErrMalformed].
//   - A reply to what was never asked, or a second one, is counted and dropped. What one session may have pending is
//     bounded by Mux.MaxCalls, and how long by Mux.CallTimeout.
//   - A peer that asks and does not take its replies is not read from until it does; Config.WriteTimeout bounds that.
//   - A handler that panics or ends its goroutine ends its session. Middleware may make an error reply of it instead.
//
// # Beyond sessions
//
// [Mux.Answer] has the same handlers serve requests that came on no session, and [Mux.Over] makes a peer of what
// carries requests to it: a service of package cluster, whose nodes call each other so.
//
// A message costs no allocation beyond what decoding and encoding its bodies make, and no goroutine unless its handler
// is Concurrent. There is no reflection but the payload's own.
package mux
