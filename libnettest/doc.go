// Package libnettest helps to test programs that use libnet, and tests libnet itself.
//
//	libnettest.Serve(t, srv, handler).Dial()     // a server that runs until the test ends, and a client
//	client, server := libnettest.Pipe()          // a connection in memory, at home in testing/synctest
//	listener := libnettest.NewListener()         // Accept answers dials in memory and scripted errors
//	faults.Wrap(conn)                            // a connection whose k-th call fails
//	libnettest.TestProtocol(t, myProtocol, msg)  // does my codec keep what libnet relies on?
//	libnettest.VerifyNone(t)                     // no goroutine and no descriptor left
//
// A test of a handler needs five lines, and as many with time in it. [Serve] is for a libnet.Handler, [ServeMessages]
// for a MessageHandler, as a mux.Mux is one; both fail the test for what is lost or left behind:
//
//	func TestTheServerEndsASilentClientAfterAMinute(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) { // here a minute takes no time
//			srv := libnet.NewServer(libnettest.NewListener(), protocol, 64)
//			srv.IdleTimeout = time.Minute
//			_, s := libnettest.ServeMessages(t, srv, handler).Pair()
//			<-s.Done()
//			if !errors.Is(s.Err(), libnet.ErrIdleTimeout) {
//				t.Error(s.Err())
//			}
//		})
//	}
//
// In a bubble everything must be in memory: a goroutine that waits for a real socket keeps its clock from moving.
//
// Every wait of Pipe, Listener and FaultConn is on a channel made by the caller's goroutine or on a
// [time.Timer], so that a [testing/synctest] bubble sees it as durably blocked and its clock drives
// the deadlines.
//
// [TestProtocol] is itself tested with codecs that are broken on purpose, each in one way: for each promise that
// package libnet asks of a Protocol, a Codec and its optional interfaces there are some, and every one must be
// caught with the promise named. A case of [Sweep] can be run alone by its name.
//
// The package imports nothing but the standard library and libnet, because it becomes part of the
// module graph of those who import libnet. The leak check is its own for that reason: goleak would
// bring testify and a YAML parser with it, and does not look at file descriptors.
package libnettest
