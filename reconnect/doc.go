// Package reconnect keeps one client session up: it dials, logs in, receives, and when the session ends
// does so again, for as long as it takes.
//
//	client := &reconnect.Client{
//		Dial: func(ctx context.Context) (*libnet.Session, error) {
//			return dialer.Dial(ctx, "tcp", "chat.example.com:7000")
//		},
//		OnConnect: func(ctx context.Context, s *libnet.Session) error { return logIn(s, user) },
//		Handler:   libnet.MessageHandlerFunc(func(s *libnet.Session, msg []byte) { show(msg) }),
//	}
//	client.Start()
//	defer client.Close()
//	err := client.Send("hello")       // held while there is no session
//	session, err := client.Ready(ctx) // waits for one
//
// # What connected means
//
// A session is up when Dial has returned it and OnConnect has returned nil; from then on it is given what Send held and
// sends. Without an OnConnect that waits for an answer this says no more than that something took the connection: a
// proxy does so although nobody is behind it, and so does a machine whose server hangs. What is written then is gone,
// and nobody counts it. So have OnConnect make a round trip: log in and receive the answer, or send a ping and receive
// its echo. What is held waits for it, and the attempt that gets no answer has failed.
//
// An attempt has failed, and is counted in [Stats].Failures, if there was no session, or if it ended before it had
// lasted MaxBackoff and before it had brought a message. Logger is told why.
//
// # Back-off
//
// The delay before an attempt is drawn evenly from 0 to a bound (full jitter: the clients of a server that
// restarts come back spread over the whole of it). The bound begins at MinBackoff, doubles with each attempt
// and stays at MaxBackoff; a session that lasted MaxBackoff begins it anew. The first attempt of all is
// made at once. The delays are those of github.com/cenkalti/backoff with a randomization of 100 %.
//
// # When there is no use in another attempt
//
// A client goes on for ever, unless it is told otherwise. Dial and OnConnect return an error through [Permanent], for a
// password that is wrong. Final is asked about the reasons that come from elsewhere, for a server that throws a user
// out for good: over WebSocket the code of its close frame says so.
//
//	client.Final = func(reason error) bool { return websocket.CloseStatus(reason) == 4001 } // logged in elsewhere
//
// The client then ends as with Close: [Client.Err], OnState, and whoever waits in [Client.Ready] have the reason, and
// so has the log.
//
// # Bounds
//
// While there is no session Send holds at most HoldMessages messages of together at most HoldBytes bytes, 256 and 1 MiB
// by default, and refuses more. Dial and OnConnect together take at most AttemptTimeout, 10 s by default; one that goes
// on after its context has ended holds the client up, which the log is told of after 5 s. A client has one goroutine,
// one more while held messages are being sent, and those of its session.
//
// # What becomes of a message
//
// Each message for which Send returned nil is written to a connection, once, or counted in [Stats].Lost. It is lost
// when its session had accepted it and not written it when the connection broke, when Close found it held or queued, or
// when it was held and turned out to be one that cannot be sent: its encoding fails, or ended two sessions. While a
// message is held no session's end loses it. Messages are sent in the order of Send, but those that are lost.
//
// The session's own queue does not know who sent what. What OnConnect has sent, or a Heartbeat, is never counted beyond
// the number of Send's messages that the session had; where others send beside Send, some of theirs may be counted for
// some of Send's.
//
// # What it does not do
//
// It does not repeat messages. What was written may not have arrived: where that matters, the
// application's own protocol must acknowledge.
//
// It does not find out by itself that a connection is dead. Over TCP, libnet.Config's PeerTimeout does, where
// the peer's machine or the way there is gone; a peer that is there and does not answer takes Heartbeat and
// IdleTimeout.
package reconnect
