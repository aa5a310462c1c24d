// Package ws carries libnet sessions over WebSocket, for browsers and for clients behind proxies.
//
//	server := libnet.NewServer(listener, codec.New(codec.Uint16BE, codec.JSON), 64)
//	http.Handle("/ws", ws.Handler(server, handler, &ws.HandlerOptions{Text: true}))
//
//	session, err := ws.Dial(ctx, "wss://example.com/ws", &libnet.Dialer{Protocol: protocol}, nil)
//
// One WebSocket message is one libnet message: its payload is what the server's protocol marshals, without
// that protocol's framing, which WebSocket makes superfluous. A browser needs to know nothing of libnet:
//
//	socket.onmessage = event => show(JSON.parse(event.data))
//
// Everything else is the server's: the sessions are in its Manager, share groups and broadcasts with
// those over TCP, keep its limits, timeouts and queue, and end with its Stop and Shutdown.
//
// # What is different
//
//   - The protocol's codecs must implement [libnet.FrameAppender] and [libnet.FrameParser], as all of
//     package codec do; a session whose codec does not is closed with a reason that wraps libnet.ErrPanic.
//   - A message may be as long as on the server's other connections: the codec's MaxMessage method says
//     how long if there is one, else Config.MaxMessage, else 1 MiB.
//   - A message over 16 KiB is sent in several WebSocket fragments, so that a peer which takes it slowly is
//     seen to make progress. Messages of either type, text or binary, are accepted.
//   - WebSocket has no half-close. A peer that closes gets the answer at once, and what is queued for it
//     then is discarded and counted. Shutdown on this side sends its close frame behind the last message.
//   - The close code tells the peer why: 1000 after Close and Shutdown, 1001 when the server ends, 1002
//     for malformed input, 1009 for a message too large, 1008 for a timeout, a slow consumer or a session that was
//     refused, 1011 after a panic. A reason for CloseWithError that is a websocket.CloseError chooses its own.
//   - [libnet.Session.Err] is [io.EOF] when the peer closed with 1000, 1001 or without a code,
//     [io.ErrUnexpectedEOF] when the connection ended without a close frame, and wraps a
//     websocket.CloseError for other codes.
//   - A session takes one goroutine more than over TCP from its first Receive on. It answers pings; of a
//     peer that pings and does not read, it drops pings once 4 KiB of answers wait. libnet sends no pings:
//     Config.PeerTimeout and Config.Heartbeat find dead peers.
//   - A peer that stalls between a WebSocket frame's header bytes, or while it pings, counts as idle, not as one
//     that has begun a message: Config.IdleTimeout bounds it, FrameTimeout does not.
//   - There is no compression.
//
// The protocol itself is github.com/coder/websocket's (RFC 6455).
package ws
