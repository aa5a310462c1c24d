// Package libnettest helps to test programs that use libnet, and tests libnet itself.
//
//	client, server := libnettest.Pipe()          // a connection in memory, at home in testing/synctest
//	listener := libnettest.NewListener()         // Accept answers dials in memory and scripted errors
//	faults.Wrap(conn)                            // a connection whose k-th call fails
//	libnettest.TestProtocol(t, myProtocol, msg)  // does my codec keep what libnet relies on?
//	libnettest.VerifyNone(t)                     // no goroutine and no descriptor left
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
