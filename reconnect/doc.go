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
//	err := client.Send("hello") // held while there is no session
//
// # Back-off
//
// The delay before an attempt is drawn evenly from 0 to a bound (full jitter: the clients of a server that
// restarts come back spread over the whole of it). The bound begins at MinBackoff, doubles with each attempt
// and stays at MaxBackoff; a session that lasted MaxBackoff begins it anew. The first attempt of all is
// made at once. The delays are those of github.com/cenkalti/backoff with a randomization of 100 %.
//
// # Bounds
//
// While there is no session Send holds at most HoldMessages messages of together at most HoldBytes bytes, 256
// and 1 MiB by default, and refuses more. Dial and OnConnect together take at most AttemptTimeout, 10 s by
// default. A client has one goroutine, one more while held messages are being sent, and those of its session.
//
// # What it does not do
//
// It does not repeat messages. What a session had accepted and not written when its connection broke is
// counted in [Stats].Lost, and what was written may not have arrived: where that matters, the
// application's own protocol must acknowledge. Messages are sent in the order of Send, but those that are lost.
//
// It does not find out by itself that a connection is dead. Over TCP, libnet.Config's PeerTimeout does, where
// the peer's machine or the way there is gone; a peer that is there and does not answer takes Heartbeat and
// IdleTimeout.
package reconnect
