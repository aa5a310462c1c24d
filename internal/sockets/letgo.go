package sockets

import "net"

// Attach is [Detach] that leaves the descriptor to the conn, and so to the runtime's poller, until [LetGo]: for who is to
// wait for the peer before.
func Attach(conn net.Conn, shared *Shared) net.Conn { return attach(conn, shared) }

// LetGo detaches conn, or the conn below it, if that came from [Attach] or something has waited in it. Nobody waits in it now. It
// leaves alone what it cannot detach.
func LetGo(conn net.Conn) { letGo(Transport(conn)) }
