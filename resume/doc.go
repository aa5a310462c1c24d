// Package resume has sessions that survive their connections: what one end's Send has accepted, the other end's
// application takes exactly once and in order, over as many connections as that needs, or the sender is told how much
// it did not take.
//
//	protocol := codec.New(codec.Uint32BE, resume.Frames) // any framing, any transport
//
//	h := &resume.Server{Handler: func(s *resume.Session) {
//		for {
//			msg, err := s.Receive() // waits over the ends of connections
//			if err != nil {
//				return // s is over for good
//			}
//			s.Send(msg)
//		}
//	}}
//	server, err := libnet.Serve("tcp", ":7000", protocol, 64)
//	server.ServeMessages(h)                               // or Serve(h)
//	http.Handle("/ws", ws.MessageHandler(server, h, nil)) // the same sessions, over WebSocket
//
//	dialer := &libnet.Dialer{Protocol: protocol}
//	session := new(resume.Client).Start(&reconnect.Client{Dial: func(ctx context.Context) (*libnet.Session, error) {
//		return dialer.Dial(ctx, "tcp", "example.com:7000")
//	}})
//	err = session.SendAcked(ctx, msg) // the other application has it
//
// # Promises
//
// Each message has a place, which its order implies. The receiver acknowledges what its application has taken: the
// handler has returned, or Receive has returned the message. The sender keeps what is not acknowledged, within
// Config.MaxMessages and MaxBytes, and sends what did not arrive on the next connection. When that comes within
// Config.Window, nobody notices more than a pause. When a session ends, its Err is an [*Error] with the number of
// messages that were not acknowledged: accepted = acknowledged + reported, always. The application can lose messages
// only by an error that says so.
//
// It does not survive the end of a process: after a restart of the server, its clients' sessions end with [ErrNotKept].
//
// # Browsers, mux, groups, monitor
//
// Package resume/web has the client's end for pages. [Session.NetConn] is a session as a net.Conn: a libnet.Session
// over that is one for all packages that take those.
//
// # On the wire
//
// Frames are a kind and what it says; numbers are unsigned varints. docs/resume.md has the exchange as a picture.
//
//	0x00 to 0x03   a message. Bit 0: a count follows, as in 0x10. Bit 1: acknowledge it at once. The rest is the application's
//	0x10 count     so many of your messages were taken, since the session's beginning
//	0x11 count     the session ends; so many of your messages were taken
//	0x12           hello, a client's first frame: version (1), length of the token (0 or 16), counts; between these, with a token:
//	               the token, the number of the attempt, from 1 on
//	0x13           welcome, the answer: the next token (16 bytes), counts
//	0x14 reason    refusal: 1 no session has this token, 2 not now, 3 version, 4 no hello
//	0x15 count     so many of your messages were taken, and no more will be; the session goes on until mine are acknowledged
//
// Counts are four: messages received, of those taken, and how many messages and bytes may be unacknowledged, of which
// both ends keep to the smaller. Each end goes on behind what the other has received. A client answers a welcome with
// 0x10. A session without an acknowledgement to send costs a byte a message.
//
// # Security
//
// A token is 128 random bits. A resume replaces it: the new one comes with the welcome, and once the client's answer is
// there the old one is refused; until then it is valid, since the welcome may be lost. A server keeps hashes of tokens.
// Whoever can read the connection can take the session over: use TLS.
//
// A hello that comes later than the one the client sent after it, as of a connection that the client has given up, is
// refused (2).
//
// A resume takes the session over also where its old connection seems alive, and ends that with [ErrTakenOver].
//
// Sessions without a connection are bounded in number, in all and of one address, and in bytes (Server.MaxKept and its
// neighbours). Who opens sessions and leaves pushes out, beyond the bound of its address, its own, and beyond that of
// all, first such that never exchanged a message. Those with a connection are bounded by libnet.Server.MaxSessions. How
// long a connection may be silent before its hello libnet.Config.HandshakeTimeout says, which is off by default: set
// it.
package resume
