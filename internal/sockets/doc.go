// Package sockets promises that a TCP or Unix connection can be read and written without waiting and without storage
// held while its peer is silent, and that whatever conn it is given, a wrapper of the user's or one without a
// descriptor, is used in its own way or left alone. It knows of no session.
//
// A [Descriptor] reads and writes once, at once, or waits in the runtime's poller; each call is a system call that does
// not block, also where somebody has made the socket blocking. The descriptor is only touched while its conn keeps it
// open, so its number is never another connection's. In a race build the race detector sees what a message orders.
//
// A [Secured] conn is TLS that keeps to the same: its descriptor decrypts what has arrived, and encrypts what the
// kernel takes. secured_unix.go has it as a net.Conn, secured_calls_unix.go what a session calls of it,
// handshake_unix.go the bound on handshakes at a time, wire_unix.go the conn below crypto/tls, hello_unix.go the first
// record that this gives it, records_unix.go where one ends, and tlsbuffers_lent.go what the build tag lendtlsbuffers
// takes from crypto/tls's conns between two reads.
//
// [TakeTurns] makes TLS over a conn in memory fit for the clock of a test.
//
// A [Detached] conn is one that the runtime's poller does not know. [Options] bound what a silent peer costs. [Unread],
// [Unsent], [PeerEnded], [HasInput] and [RTT] say what the kernel knows of a peer; only Linux tells all of it, and
// elsewhere they answer what costs nothing: nothing, or no. [Listen] and [Wrap] make listeners of streams only, and
// look after a Unix socket's file. [Transient] tells a listener's passing errors.
//
// Functions that take a net.Conn call methods of it, which may be the user's. [Options.Set] and [Options.AskBuffers]
// let their panics through; the others take a panic for an answer of nothing. So does the handle that [Raw] returns,
// and functions that take a handle rest on that: they want one of Raw's, or of a [Descriptor].
package sockets
