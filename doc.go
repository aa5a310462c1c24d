// Package libnet turns network connections into sessions: framed messages in order, a bounded send
// queue, an identity, groups, timeouts, and a shutdown that loses nothing.
//
// A server that answers every message with itself:
//
//	func main() {
//		srv, err := libnet.Serve("tcp", ":7000", codec.New(codec.Uint16BE, codec.Bytes), 64)
//		if err != nil {
//			log.Fatal(err)
//		}
//		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
//		defer stop()
//		err = srv.ServeUntil(ctx, 10*time.Second, func() error { return srv.Serve(libnet.HandlerFunc(echo)) })
//		if err != nil {
//			log.Print(err) // the listener broke; or says how many messages were not delivered
//		}
//	}
//
//	func echo(s *libnet.Session) {
//		for msg := range s.Messages() { // until the session ends; s.Err() says why
//			if err := s.SendBytes(msg); err != nil {
//				return
//			}
//		}
//	}
//
// And a client:
//
//	s, err := libnet.Connect("tcp", "localhost:7000", codec.New(codec.Uint16BE, codec.Bytes), 64)
//
// # What a session promises
//
//   - Messages of one sender arrive in the order of its Send calls, each whole or not at all.
//   - Send on a session with a queue never waits for the peer. A message for which it returned nil was
//     written, or is counted in SessionStats.Discarded.
//   - After a partial frame nothing more is written: the session ends.
//   - A session ends once, for one reason, which [Session.Err], the log and ServerStats.Closed agree on.
//     Its close callbacks run exactly once, after it left its manager and groups, with no lock held.
//   - [Session.Shutdown] and [Server.Shutdown] deliver what was accepted, and otherwise say exactly how
//     many messages were not written.
//   - A frame's memory grows with the bytes that arrived, never with the length that was claimed.
//   - A panic in a handler, codec, callback or heartbeat ends that one session.
//   - Whatever waits has a bound that [Config] sets.
//
// # Who may call what
//
// Every exported method may be called by any goroutine, unless it says otherwise. Calls of Receive on one
// session are serialised, and so are calls of Send on a synchronous one.
//
// # Two ways to serve
//
// [Server.Serve] gives each session a goroutine, which may wait for whatever it likes: about 4.2 KB a
// silent session. [Server.ServeMessages] calls a handler a message: a silent session costs about 0.7 KB and
// no goroutine. [Server.Accept] is the original libnet's loop. All three end with [Server.Shutdown] or
// [Server.Stop]; Serve and ServeMessages return when that has returned.
//
// # What libnet does not do
//
// It does not number, acknowledge, store or resend messages (package resume does): delivered means handed to the
// kernel. It does not route (package mux does), discover or authenticate. It has no global state that a user could trip
// over, registers no flags, and does not panic for what happens on the network.
package libnet
