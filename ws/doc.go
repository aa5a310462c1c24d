// Package ws carries libnet sessions over WebSocket, for browsers and for clients behind proxies.
//
//	protocol := ws.Protocol(codec.New(codec.Uint16BE, codec.JSON), &ws.HandlerOptions{Text: true})
//	server, err := libnet.Serve("tcp", ":8080", protocol, 64)
//	server.ServeMessages(handler) // on a listener of its own: as cheap as TCP
//
//	server := libnet.NewServer(listener, codec.New(codec.Uint16BE, codec.JSON), 64)
//	http.Handle("/ws", ws.MessageHandler(server, handler, &ws.HandlerOptions{Text: true})) // on net/http's, beside pages
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
// [Request] tells a handler, and OnSession, which path, cookies and header the peer came with; [Subprotocol] what both
// have agreed on.
//
// # What is different
//
//   - The protocol's codecs must implement [libnet.FrameAppender] and [libnet.FrameParser], as all of
//     package codec do; a session whose codec does not is closed with a reason that wraps libnet.ErrPanic.
//   - What the framing could not carry is refused here, too, both ways: a payload of another size than codec.Fixed
//     says, a line feed under codec.Lines. A codec of your own whose framing has such a rule tells by a method
//     CheckPayload(payload []byte) error, whose error wraps libnet.ErrMalformedFrame or libnet.ErrFrameTooLarge, what
//     is not to be received.
//   - A message may be as long as on the server's other connections: the codec's MaxMessage method says
//     how long if there is one, else Config.MaxMessage, else 1 MiB. A frame that claims more is refused at its header.
//   - A message over 16 KiB is sent in several WebSocket fragments, so that a peer which takes it slowly is
//     seen to make progress. Messages of either type, text or binary, are accepted.
//   - WebSocket has no half-close. A peer that closes gets the answer at once, and what is queued for it
//     then is discarded and counted. Shutdown on this side sends its close frame behind the last message.
//   - A session whose peer has closed ends 1 s after all that came before is received, though its handler receives no
//     more: one that only sends, or waits for Done, need not Receive to learn of the end. What a handler leaves unread
//     keeps it open until it sends, or until Config.IdleTimeout; beyond 32 KiB unread, nothing more is read, and
//     no end is seen.
//   - [libnet.Session.Err] is [io.EOF] when the peer closed with 1000, 1001 or without a code,
//     [io.ErrUnexpectedEOF] when the connection ended without a close frame or within a message, and wraps a
//     websocket.CloseError for other codes.
//   - A session of [Handler] or [Dial] takes one goroutine more than over TCP. It answers pings; of a
//     peer that pings and does not read, it drops pings once 4 KiB of answers wait. libnet sends no pings:
//     Config.PeerTimeout and Config.Heartbeat find dead peers. Pings and pongs that come count for
//     Config.IdleTimeout as messages do.
//   - Frames that are no messages cost a session of [Handler] or [Dial] nothing of Config.RateLimit: its goroutine
//     holds them to a limit of the same size. While it waits for that, FrameTimeout and HandshakeTimeout run.
//   - A peer that stalls within a control frame counts as idle, not as one that has begun a message:
//     Config.IdleTimeout bounds it, FrameTimeout does not.
//   - Close gives the peer 0.5 s to read the close frame and to close its side, without waiting for that: the socket is
//     closed then, in the background.
//
// # On a server's own listener
//
// A session of [Protocol], or of [MessageHandler] once net/http has given its connection up, is one over TCP, or TLS,
// whose framing is WebSocket's: it takes no goroutine more, none at all in event mode, and has the same limits,
// timeouts, queue and counters. What is said above holds for it but for this:
//
//   - Control frames are answered in the order of the input, by whoever receives: a ping behind a message is answered
//     when the handler comes back for more, and the peer's close frame is noticed by Receive, or by the event loop. A
//     session that only sends should be of a server in event mode.
//   - A peer that closes gets what is queued for it, and then the answer.
//   - A message is sent as one frame, whatever its size.
//   - Config.RateLimit is one for messages and other frames.
//   - FrameTimeout bounds a control frame, too, and the request from its first byte on.
//   - With Protocol, a connection that MaxSessions or MaxSessionsPerIP refuses, or a stopped server, is answered with
//     503 instead of an upgrade: it is what proxies know to try another server after, and the server looks at no
//     request for it. A browser's script sees code 1006. No more than 64 connections a second are answered, which
//     bounds what the TLS handshakes cost; others are just closed. What has connected and not yet been upgraded when a
//     Stop or Shutdown begins is closed, too.
//   - With Protocol, a session whose handshake has failed counts as accepted, and is closed after its answer.
//   - Closed without being delivered (Close, a timeout, what a peer does wrong), a session sends its close frame if no
//     other frame is half written; the connection is read on for 0.5 s at the most, without a goroutine, so that the
//     peer can read it.
//   - A Shutdown whose context ends cuts the connection without a close frame.
//
// # Compression
//
// There is none unless it is asked for. CompressFrom, of [HandlerOptions] and of [DialOptions], has a side offer
// permessage-deflate (RFC 7692) or agree to it, as all browsers do, and compress messages of that size and more.
//
//   - Each message is compressed by itself: neither side keeps a context, so a session keeps nothing for it between two
//     messages. That is worth little below some hundred bytes, where there is not much to refer back to. A message that
//     becomes no shorter is sent as it is.
//   - A broadcast is compressed once for all sessions of a handler, or of a server's own listener, that have agreed to
//     it; the others get it as it is.
//   - MaxMessage bounds what a message is before it is compressed. What inflates to more ends its session at that size,
//     with 1009, and has allocated no more than twice as much.
//   - A message that does not inflate, or ends before its end, is malformed: 1002. RFC 7692 names no code; 1007 says
//     that the content is not what the frame's type promises, and that is told of text that is not UTF-8, once it has
//     been inflated.
//   - As many messages are compressed or inflated at a time as there are processors, and others wait: a compressor
//     takes 1.2 MB and an inflater 41 KB. Send compresses in its caller.
//   - The queue's bound, the counters of bytes and Config.RateLimit's Bytes are about compressed messages, but for what
//     a session of [Handler] or [Dial] receives: that is counted as inflated. What a peer makes a server inflate,
//     RateLimit's Messages bounds.
//   - Offers with a server_max_window_bits below 15 are declined, and a request whose offers are malformed is refused
//     with 400.
//
// A message that holds a secret, and beside it what somebody else has chosen, gives the secret away by its length.
// Compress no such messages.
//
// # Close codes
//
// Each session ends with one close frame, if the connection still takes it. Its code and text tell the peer why:
//
//	1000  Close and Shutdown, and a handler that returned
//	1001  Stop and Shutdown of the server, and a request to a Handler that comes after them
//	1002  malformed input: of the WebSocket itself, a compressed message that does not inflate, or a payload that the
//	      framing could not have carried
//	1007  text that is not UTF-8, a close reason among it
//	1008  a timeout, a slow consumer, a rate limit, and every other reason that is given, and every other error of OnSession
//	1009  a message too large
//	1011  a panic, or an error of a network connection, without its text
//	1013  MaxSessions or MaxSessionsPerIP are open (a Handler's)
//
// The text is the error's, up to 123 bytes of it, but for 1000, 1001 and 1011: what a reason says, the peer gets to
// read. A reason that is, or wraps, a websocket.CloseError chooses both: 3000 to 4999 are free to use. A client that is
// thrown out because its user has logged in elsewhere must be able to tell, or it comes back and throws that one out:
//
//	old.CloseWithError(websocket.CloseError{Code: 4001, Reason: "logged in elsewhere"})
//
// CloseWithError discards what is queued; [libnet.Session.ShutdownWithError] delivers it first.
//
// A full or stopped server's Handler agrees to the upgrade and then closes, because a browser's script gets to see the
// close code and never an HTTP status.
//
// # Over TLS
//
// A session of Protocol in event mode is as cheap over TLS as crypto/tls allows. So is one of MessageHandler, where the
// HTTP server serves a [TLSListener]; on crypto/tls's own listener it has a goroutine.
//
// The handshake is github.com/coder/websocket's, the protocol RFC 6455's.
package ws
